"""Images that networks make, in a grid for people to look at."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from repsim.files import write_atomic

#: Pixels between images.
GAP = 2


def sheet(samples: Tensor | Mapping[str, Tensor], n: int) -> Tensor:
    """Up to ``n`` images as one: a square of one generator's, or a line for each of several.

    Args:
        samples: (k, c, h, w) in [-1, 1], or such by generator.
        n: images in all; every generator shows at least one.

    Returns:
        uint8 (c, height, width), black between the images.
    """
    if isinstance(samples, Tensor):
        chosen = samples[:n]
        columns = math.ceil(math.sqrt(len(chosen)))
    else:
        columns = max(1, n // len(samples))
        chosen = torch.cat([images[:columns] for images in samples.values()])
    return _grid(chosen, columns)


def pairs(images: Tensor, found: Tensor, n: int) -> Tensor:
    """About ``n`` images as one: lines of images, and under each line what was made of it.

    Args:
        images: (k, c, h, w) in [-1, 1].
        found: their counterparts, of the same shape.
        n: images in all, counterparts included.

    Returns:
        uint8 (c, height, width), black between the images.
    """
    columns = max(1, min(math.isqrt(n), len(images)))
    lines = max(1, min(n // (2 * columns), len(images) // columns))
    both = torch.stack(
        [each[: lines * columns].unflatten(0, (lines, columns)) for each in (images, found)], dim=1
    )
    return _grid(both.flatten(0, 2), columns)


def _grid(chosen: Tensor, columns: int) -> Tensor:
    images = ((chosen.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()
    count, channels, height, width = images.shape
    lines = math.ceil(count / columns)
    grid = torch.zeros(
        (channels, lines * (height + GAP) - GAP, columns * (width + GAP) - GAP), dtype=torch.uint8
    )
    for index, image in enumerate(images):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        grid[:, top : top + height, left : left + width] = image
    return grid


def write_png(path: Path, image: Tensor) -> None:
    """Write an image, uint8 (c, height, width) with 1 or 3 channels."""
    pixels = image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())
