"""Scenes: several single images on a black ground, among fragments of others.

Each scene has random numbers of its own from a hash, as pairs have: it is the same in every slice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from repsim.data.pairs import Draws, Labelled

#: Quarters of a scene, each of the size of a single image.
QUARTERS = 4

#: The part of a single image's height and width by which an object moves at most, and that a
#: fragment has: a quarter.
_PART = 4


@dataclass(frozen=True)
class Placed:
    """The objects of scenes, in the order in which they are drawn.

    Attributes:
        labels: int64, shape (n, most).
        images: their places among the single images, the same shape.
        tops: rows of pixels above each, the same.
        lefts: columns of pixels beside it, the same.
        shown: False of those that a scene has not, bool, the same; the first is always there.
    """

    labels: Tensor
    images: Tensor
    tops: Tensor
    lefts: Tensor
    shown: Tensor

    def present(self, classes: int) -> Tensor:
        """Ones for the classes that are in each scene, uint8, shape (n, classes)."""
        each = one_hot(self.labels, classes) * self.shown[..., None]
        return each.amax(1).to(torch.uint8)


def place_objects(singles: Labelled, draws: Draws, most: int) -> Placed:
    """Draw the objects of scenes: 1 to ``most``, in quarters of their own.

    The number of objects and their labels are uniform, labels may repeat, and each object lies up
    to a quarter of its size from its corner, towards the middle.
    """
    height, width = singles.images.shape[2:]
    quarters = draws.orders("quarters", QUARTERS)[:, :most]
    labels = _stack(draws, "label", most, len(singles.counts))
    images = torch.stack(
        [singles.drawn(labels[:, k], draws.uniform(f"object {k}")) for k in range(most)], 1
    )
    count = (draws.uniform("count") * most).long() + 1
    return Placed(
        labels,
        images,
        _from_corner(quarters // 2, height, _stack(draws, "down", most, height // _PART + 1)),
        _from_corner(quarters % 2, width, _stack(draws, "across", most, width // _PART + 1)),
        torch.arange(most) < count[:, None],
    )


def _stack(draws: Draws, purpose: str, count: int, below: int) -> Tensor:
    """``count`` whole numbers from 0, uniform below a bound, for each scene."""
    each = [(draws.uniform(f"{purpose} {k}") * below).long() for k in range(count)]
    return torch.stack(each, 1)


def _from_corner(far: Tensor, size: int, shift: Tensor) -> Tensor:
    """The first pixel of objects in the near half, or in the ``far`` one, moved to the middle."""
    return torch.where(far == 1, size - shift, shift)


def compose_scenes(
    singles: Labelled, draws: Draws, *, most: int, clutter: int
) -> tuple[Tensor, Placed]:
    """Scenes twice as high and wide as single images; where objects overlap, the brighter pixel.

    Args:
        singles: the single images.
        draws: the random numbers.
        most: objects of a scene, at most, up to 4.
        clutter: fragments, each a quarter as high and wide as a single image, of any of them and
            anywhere.

    Returns:
        Pixels, uint8, shape (n, c, 2 h, 2 w), and the objects.
    """
    blocks = [(block, place_objects(singles, block, most)) for block in draws.blocks()]
    images = torch.cat([_drawn(singles, *each, clutter) for each in blocks])
    names = ("labels", "images", "tops", "lefts", "shown")
    joined = {name: torch.cat([getattr(each, name) for _, each in blocks]) for name in names}
    return images, Placed(**joined)


def _drawn(singles: Labelled, draws: Draws, placed: Placed, clutter: int) -> Tensor:
    n, (channels, height, width) = len(placed.labels), singles.images.shape[1:]
    scene = singles.images.new_zeros(n, channels, 2 * height, 2 * width)
    for k in range(clutter):
        _put(scene, *_fragment(singles, draws, k))
    for k in range(placed.labels.shape[1]):
        shown = singles.images[placed.images[:, k]] * placed.shown[:, k, None, None, None]
        _put(scene, shown, placed.tops[:, k], placed.lefts[:, k])
    return scene


def _fragment(singles: Labelled, draws: Draws, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """A fragment for each scene, and the pixels above it and beside it."""
    height, width = singles.images.shape[2:]
    high, wide = (max(1, side // _PART) for side in (height, width))

    def below(purpose: str, bound: int) -> Tensor:
        return (draws.uniform(f"fragment {k} {purpose}") * bound).long()

    whole = singles.images[below("of", len(singles.images))]
    down, across = below("from row", height - high + 1), below("from column", width - wide + 1)
    rows, columns = _window(down, high), _window(across, wide)
    cut = whole[torch.arange(len(whole))[:, None, None], :, rows[:, :, None], columns[:, None]]
    to = below("to row", 2 * height - high + 1), below("to column", 2 * width - wide + 1)
    return cut.permute(0, 3, 1, 2), *to


def _put(scene: Tensor, images: Tensor, tops: Tensor, lefts: Tensor) -> None:
    """Draw an image into each scene: the brighter of both at each pixel."""
    rows, columns = _window(tops, images.shape[2]), _window(lefts, images.shape[3])
    where = (torch.arange(len(scene))[:, None, None], rows[:, :, None], columns[:, None])
    below = scene.permute(0, 2, 3, 1)  # a view
    below[where] = torch.maximum(below[where], images.permute(0, 2, 3, 1))


def _window(first: Tensor, size: int) -> Tensor:
    """``size`` whole numbers from each of ``first``, shape (n, size)."""
    return first[:, None] + torch.arange(size)
