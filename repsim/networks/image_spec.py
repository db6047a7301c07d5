"""The facts of an image set that a network, an augmentation or a method is built for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> ImageSpec:
        """The facts as ``config.json`` of a run has them, of whatever version.

        The first version had one ``size`` for height and width.

        Raises:
            TypeError: other keys than these.
        """
        if "size" in content:
            others = {key: value for key, value in content.items() if key != "size"}
            return cls(height=content["size"], width=content["size"], **others)
        return cls(**content)
