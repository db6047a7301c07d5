"""The facts of an image set that a network, an augmentation or a method is built for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageSpec:
    """Shape, classes and symmetry of the images of a data set."""

    channels: int
    classes: int  #: 0 without labels
    height: int
    width: int
    flips: bool  #: a mirrored image is still of its class

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width: one image, without the batch."""
        return self.channels, self.height, self.width
