"""The shape of a named set: a frozen dataclass, whose fields are the parameters of the set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from repsim.configuration import Config, build_config, settings_of
from repsim.data.filelist import FileList
from repsim.data.imageset import ImageSet, fit
from repsim.data.size import DEFAULT_SIZE, Size, Wanted, parse_size
from repsim.data.splits import Split
from repsim.errors import UsageError

D = TypeVar("D", bound="DataSet")


@dataclass(frozen=True)
class DataSet(Config, ABC):
    """A named set; a subclass is a frozen dataclass of ``setting`` fields, its parameters.

    Attributes:
        sizes: number of images in each split.
        own_size: height and width in which the images are stored.
        default_size: height and width that networks are shown unless told otherwise.
        flips: whether a mirrored image is still of its class.
    """

    sizes: ClassVar[Mapping[str, int]]
    own_size: ClassVar[Size]
    default_size: ClassVar[Size] = DEFAULT_SIZE
    flips: ClassVar[bool] = True

    @abstractmethod
    def read(self, split: Split, data_dir: Path) -> ImageSet:
        """Read a split, one of ``sizes``, as it is stored.

        Raises:
            UsageError: a slice beyond the split.
            DataError: files that are absent or damaged.
        """

    def missing(self, data_dir: Path) -> list[str]:
        """Names of the files that are needed and not there."""
        return []

    def files(self, split: Split, data_dir: Path) -> FileList | None:
        """Names and sizes of the files of a whole split; None if it has none, or one is absent."""
        return None

    def count(self, split: Split) -> int:
        """Number of images of a split, none of which is read.

        Raises:
            UsageError: a split that the set has not, or a slice beyond it.
        """
        length = self.sizes[split.among(self.name, self.sizes).base]
        return len(range(length)[split.within(length).rows])

    @property
    def shifts(self) -> bool:
        """True if the other splits are drawn otherwise than ``train``, as clean ones are."""
        return False

    def alike(self) -> DataSet:
        """The set whose splits are all drawn as ``train`` is."""
        return self

    def outline(self) -> DataSet:
        """A set with images of the same shape and classes, perhaps with fewer of them."""
        return self

    def fit(self, images: Tensor, size: Size) -> Tensor:
        """Stored images, uint8 (n, c, h, w), brought to another size."""
        return fit(images, size)

    def load(self, split: Split, data_dir: Path, wanted: Wanted = None) -> ImageSet:
        """Read a split at a size; see ``repsim.data.load``."""
        size = self.size(wanted)
        stored = self.read(split.among(self.name, self.sizes), data_dir)
        images = stored.images if size == self.own_size else self.fit(stored.images, size)
        whole = sum(self.sizes.values())
        return replace(stored, images=images, resized=size != self.default_size, whole=whole)

    def size(self, wanted: Wanted = None) -> Size:
        """Height and width in pixels of what is asked for."""
        size = parse_size(wanted)
        if size is None:
            return self.default_size
        return self.own_size if isinstance(size, str) else size

    @classmethod
    def plain_name(cls) -> str:
        """Name of the set without parameters: that of its module."""
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    @property
    def name(self) -> str:
        """Its one spelling: parameters sorted, defaults left out, as in ``digits:noise=0.5``."""
        given = sorted(
            f"{each.name}={_text(getattr(self, each.name))}"
            for each in settings_of(type(self))
            if getattr(self, each.name) != each.default
        )
        return f"{self.plain_name()}:{','.join(given)}" if given else self.plain_name()

    @classmethod
    def parse(cls: type[D], text: str) -> D:
        """The set with parameters ``key=value,key=value``.

        Raises:
            UsageError: an unknown key, one that comes twice, or a value that does not fit.
        """
        values: dict[str, str] = {}
        for part in text.split(",") if text else ():
            key, sign, value = (each.strip() for each in part.partition("="))
            if not sign or key in values:
                name = cls.plain_name()
                problem = f"{key!r} is given twice" if key in values else f"{part!r} has no value"
                raise UsageError(f"{name}: {problem}; expected {name}:key=value,key=value")
            values[key] = value
        return build_config(cls, values, cls.plain_name())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
