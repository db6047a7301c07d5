"""The shape of a named set: a frozen dataclass, whose fields are the parameters of the set."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from repsim.data.imageset import ImageSet, fit
from repsim.data.size import DEFAULT_SIZE, Size, Wanted, parse_size
from repsim.data.splits import Split
from repsim.errors import UsageError, choices

V = TypeVar("V", bool, int, float, str)
D = TypeVar("D", bound="DataSet")


def parameter(
    default: V,
    description: str,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    options: Sequence[str] = (),
) -> V:
    """A field of a named set; its type is that of ``default``.

    Args:
        default: the value that is left out of the name of the set.
        description: for help texts.
        least: smallest number allowed.
        most: largest number allowed.
        options: the texts allowed; any if there are none.
    """
    about = {"description": description, "least": least, "most": most, "options": tuple(options)}
    return dataclasses.field(default=default, metadata=about)  # type: ignore[return-value]


class DataSet(ABC):
    """A named set; subclasses are frozen dataclasses, and final.

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

    def __post_init__(self) -> None:
        for field in parameters(type(self)):
            _check(self.plain_name(), field, getattr(self, field.name))

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

    def fit(self, images: Tensor, size: Size) -> Tensor:
        """Stored images, uint8 (n, c, h, w), brought to another size."""
        return fit(images, size)

    def load(self, split: Split, data_dir: Path, wanted: Wanted = None) -> ImageSet:
        """Read a split at a size; see ``repsim.data.load``."""
        size = self.size(wanted)
        stored = self.read(split.among(self.name, self.sizes), data_dir)
        images = stored.images if size == self.own_size else self.fit(stored.images, size)
        return replace(stored, images=images, resized=size != self.default_size)

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
            f"{field.name}={_text(getattr(self, field.name))}"
            for field in parameters(type(self))
            if getattr(self, field.name) != field.default
        )
        return f"{self.plain_name()}:{','.join(given)}" if given else self.plain_name()

    @classmethod
    def parse(cls: type[D], text: str) -> D:
        """The set with parameters ``key=value,key=value``.

        Raises:
            UsageError: an unknown key, one that comes twice, or a value that does not fit.
        """
        known = {field.name: field for field in parameters(cls)}
        values: dict[str, Any] = {}
        for part in text.split(",") if text else ():
            key, sign, value = (each.strip() for each in part.partition("="))
            if key not in known:
                there = choices(key, known) if known else "it has none"
                raise UsageError(f"{cls.plain_name()} has no parameter {key!r}; {there}")
            if not sign or key in values:
                problem = "is given twice" if key in values else "has no value"
                raise UsageError(
                    f"parameter {key!r} of {cls.plain_name()} {problem}; expected "
                    f"{cls.plain_name()}:{key}={_text(known[key].default)}, say"
                )
            values[key] = _read(cls.plain_name(), known[key], value)
        return cls(**values)


def parameters(kind: type[DataSet]) -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a named set, in the order of its module."""
    return dataclasses.fields(kind)  # type: ignore[arg-type]


def expected(field: dataclasses.Field[Any]) -> str:
    """The values that a parameter may have, in words: ``a number from 0 to 1``."""
    about = field.metadata
    if about["options"]:
        return " or ".join(about["options"])
    kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    bounds = [
        f"{word} {_text(about[key])}"
        for word, key in (("from", "least"), ("to", "most"))
        if math.isfinite(about[key])
    ]
    return " ".join([kind[type(field.default)], *bounds])


def _read(of: str, field: dataclasses.Field[Any], text: str) -> Any:
    """The value that a text stands for."""
    kind = type(field.default)
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise _refusal(of, field, text) from None


def _check(of: str, field: dataclasses.Field[Any], value: Any) -> None:
    """Raise ``UsageError`` unless a value is of the type of its parameter and within its bounds."""
    about, kind = field.metadata, type(field.default)
    numeric = kind in (int, float)
    fits = isinstance(value, (int, float) if kind is float else kind)
    fits = fits and (kind is bool or not isinstance(value, bool))
    if not fits or (
        not (math.isfinite(value) and about["least"] <= value <= about["most"])
        if numeric
        else bool(about["options"]) and value not in about["options"]
    ):
        raise _refusal(of, field, value)


def _refusal(of: str, field: dataclasses.Field[Any], value: object) -> UsageError:
    return UsageError(
        f"{of}: {field.name} is {value!r}; expected {expected(field)}: "
        f"{field.metadata['description']}"
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(float(value)).removesuffix(".0") if isinstance(value, float) else str(value)
