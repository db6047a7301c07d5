"""Patches of images: a grid of cells, and in each cell a patch, cut for a whole batch at once.

The proportions are the ones of the code of Kolesnikov et al. (2019), for images of any size. Their
images of 292 pixels have a crop of 255, cells of 85 and patches of 64; features are made of nine
patches of 64 pixels that fill a crop of 192 in images of 224.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Grid:
    """Square cells, side by side in a crop of an image, each with a patch inside.

    Attributes:
        side: cells along each side of the crop.
        cell: side of a cell in pixels.
        patch: side of a patch, at most that of a cell.
        image: side to which images are resized before they are cropped.
    """

    side: int
    cell: int
    patch: int
    image: int

    @classmethod
    def for_questions(cls, size: int, side: int, cell: int = 0, patch: int = 0) -> Grid:
        """The grid whose patches a network is asked about.

        Args:
            size: side of the images in pixels.
            side: cells along each side of the crop.
            cell: side of a cell; 0 for the smallest cells that together are no smaller than the
                images.
            patch: side of a patch; 0 for 64/85 of a cell, rounded up.
        """
        cell = cell or -(-size // side)
        patch = patch or -(-cell * 64 // 85)
        return cls(side, cell, patch, round(side * cell * 292 / 255))

    def for_features(self) -> Grid:
        """The grid of patches of the same size whose features are those of an image.

        They touch each other, and cover 192/224 of the image.
        """
        return Grid(self.side, self.patch, self.patch, round(self.side * self.patch * 224 / 192))

    @property
    def count(self) -> int:
        """Number of cells, counted line by line from above."""
        return self.side**2

    def centred(self) -> Tensor:
        """Upper left corners (1, count, 1, 2) of the patches in the middle of each cell.

        The crop lies in the middle of the image.
        """
        before = (self.image - self.side * self.cell) // 2 + (self.cell - self.patch) // 2
        return (self._cells() + before).view(1, -1, 1, 2)

    def scattered(self, n: int) -> Tensor:
        """Upper left corners (n, count, 1, 2) of patches anywhere in their cells.

        The crop lies anywhere in the image. Drawn from torch's global random numbers on the CPU.
        """
        crops = torch.randint(self.image - self.side * self.cell + 1, (n, 1, 2))
        within = torch.randint(self.cell - self.patch + 1, (n, self.count, 2))
        return (self._cells() + crops + within).unsqueeze(2)

    def cut(self, images: Tensor, corners: Tensor) -> Tensor:
        """Patches (n, count, channels, patch, patch) of images (n, channels, h, w).

        Args:
            images: of any size.
            corners: (n or 1, count, channels or 1, 2), rows and columns in the resized images.
        """
        windows = resized(images, self.image).unfold(2, self.patch, 1).unfold(3, self.patch, 1)
        rows = torch.arange(len(images), device=images.device).view(-1, 1, 1)
        channels = torch.arange(images.shape[1], device=images.device)
        above, beside = corners.to(images.device).unbind(3)
        return windows[rows, channels, above, beside]

    def _cells(self) -> Tensor:
        """Upper left corners (count, 2) of the cells in the crop."""
        steps = torch.arange(self.side) * self.cell
        return torch.cartesian_prod(steps, steps)


def resized(images: Tensor, side: int) -> Tensor:
    """Square images of ``side`` pixels, bilinear; smaller ones are averages of what they cover."""
    if images.shape[2:] == (side, side):
        return images
    shrinks = side < max(images.shape[2:])
    return F.interpolate(images, (side, side), mode="bilinear", antialias=shrinks)


def colour_shifts(images: Tensor, count: int, pixels: int) -> Tensor:
    """Random shifts (n, count, channels, 2) of the channels of each patch, by up to ``pixels``.

    Noroozi and Favaro (2016), section 4.2: lenses shift colours towards the border, which tells a
    patch's place. Grey images have none.
    """
    n, channels = images.shape[:2]
    drawn = torch.randint(-pixels, pixels + 1, (n, count, channels, 2))
    coloured = (images != images[:, :1]).flatten(1).any(1).cpu()
    return drawn * coloured.view(-1, 1, 1, 1)


def standardised(patches: Tensor) -> Tensor:
    """Patches (..., channels, h, w) with mean 0 and deviation 1 each, over pixels and channels.

    Patches of one colour become 0: the deviation is at least that of a patch with one number that
    is one of 255 levels off, the smallest that images of 8 bits can have. TensorFlow, which the
    authors use, has the same bound.
    """
    axes = (-3, -2, -1)
    deviation, mean = torch.std_mean(patches, axes, correction=0, keepdim=True)
    least = 2 / 255 / math.sqrt(math.prod(patches.shape[-3:]))
    return (patches - mean) / deviation.clamp(min=least)
