"""The shape of all results: frozen objects that save, load and tabulate without any network.

A result file is JSON (``format``, ``kind`` and the object's fields; NaN as null), so that it can be
read anywhere and redrawn years later. ``save`` writes a CSV of the numbers beside it. A kind of
result is a subclass of ``Result`` with a ``kind``; defining it is enough for ``load`` to know it.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from repsim._version import __version__
from repsim.errors import RepsimError, StoreError, UsageError
from repsim.files import csv_text, refuse_existing, write_atomic
from repsim.html import box, picture, table
from repsim.reading import DAMAGE, read_json, reason_of
from repsim.results.records import plain, read_fields
from repsim.short import ShortRepr
from repsim.visible import shown

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "repsim-result"
FORMAT_VERSION = 1

#: The package that draws results. It is found by its name, since results know nothing of figures.
_FIGURES = "repsim.figures"

#: Every kind of result by its name in files; filled where the kinds are defined.
KINDS: dict[str, type[Result]] = {}


@dataclass(frozen=True, eq=False)
class Result(ShortRepr):
    """Base of all results, with ``save``, ``load``, ``rows`` and ``to_dataframe``.

    Its ``repr`` is one line, ``headline``. Notebooks show the first rows and a small figure.

    Attributes:
        kind: name of the kind in files; each subclass has its own.
        provenance: where the numbers come from.
    """

    kind: ClassVar[str] = ""
    noun: ClassVar[str] = "result"

    if TYPE_CHECKING:  # a field of each subclass, after its own fields

        @property
        def provenance(self) -> dict[str, Any]: ...

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in vars(cls):
            KINDS[cls.kind] = cls

    def headline(self) -> str:
        """The result in a line: its networks, the count of its numbers, and the main ones."""
        return f"{len(self.rows()):,} rows"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.headline()})"

    def _repr_html_(self) -> str:
        return box(repr(self), self._picture(), table(self.preview()))

    def preview(self) -> list[dict[str, Any]]:
        """Records for a notebook, which shows the first of them."""
        return self.rows()

    def _picture(self) -> str:
        """The first figure of the result, small; empty where it has none."""
        stream = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a figure that no one asked for
                figures = importlib.import_module(_FIGURES)
                first = next(iter(figures.figures_of(self).values()))
                (figure,) = figures.draw(first).values()
                figure.savefig(stream, format="png", dpi=120)
                # A notebook would show it once more if it stayed open.
                importlib.import_module("matplotlib.pyplot").close(figure)
        except (ImportError, RepsimError, TypeError):  # no matplotlib, or a kind without figures
            return ""
        return picture(stream.getvalue())

    def rows(self) -> list[dict[str, Any]]:
        """The numbers as records, one a line of the CSV."""
        raise NotImplementedError

    def to_dataframe(self) -> pd.DataFrame:
        """``rows`` as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def to_dict(self) -> dict[str, Any]:
        """The whole result as JSON values; NaN and infinity become None."""
        content = {f.name: plain(getattr(self, f.name)) for f in fields(self)}
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "repsim": __version__,
            **content,
        }

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
        """Write ``path`` (JSON) and the same name with ``.csv``; both paths are returned.

        Raises:
            UsageError: a file exists and ``overwrite`` is False, or ``path`` ends in .csv.
        """
        target = result_file(path)
        sheet = target.with_suffix(".csv")
        for file in (target, sheet):
            refuse_existing(file, overwrite)
        text, content = csv_text(self.rows()), json.dumps(self.to_dict(), indent=1) + "\n"
        sheet.unlink(missing_ok=True)  # never beside the numbers of another result
        write_atomic(target, content)
        write_atomic(sheet, text)
        return [target, sheet]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Read a result file. On a subclass, of that kind only, or of one that was its like before.

        Raises:
            StoreError: the file is absent, cut short, or not such a result.
        """
        content = _read(Path(path))
        kind = KINDS.get(str(content.get("kind")))
        if kind is None:
            raise StoreError(f"{path}: unknown kind of result {shown(content.get('kind'))}")
        wanted = kind if issubclass(kind, cls) else cls
        try:
            found = content if wanted is kind else cls._converted(content)
            if found is None:
                raise StoreError(f"{path} holds a {kind.kind}; expected a {cls.kind}")
            result = wanted._from_dict(found)
            result.rows()
        except (UsageError, *DAMAGE) as error:
            reason = error if isinstance(error, UsageError) else reason_of(error)
            raise StoreError(f"{path}: not a whole {kind.kind} ({reason})") from error
        return result

    @classmethod
    def _converted(cls, content: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """A file of another kind as this kind has it; None where it cannot be."""
        return None

    @classmethod
    def _from_dict(cls, content: Mapping[str, Any]) -> Any:
        """The result in a file; it raises as ``repsim.results.records.read_fields`` does."""
        return cls(**read_fields(cls, content))


def facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Nested values as lines: the dotted key, and the value as text."""
    found: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            found += [(f"{key}.{inner}", text) for inner, text in facts(value)]
        else:
            found.append((str(key), f"{value:g}" if isinstance(value, float) else str(value)))
    return found


def result_file(path: str | os.PathLike[str]) -> Path:
    """``path`` with the suffix .json of a result; its table has the same name with .csv.

    Raises:
        UsageError: ``path`` names no file, or a table.
    """
    target = Path(path)
    if not target.name or target.is_dir():
        raise UsageError(f"{os.fspath(path)!r} names no file; give the result a .json name")
    if target.suffix == ".csv":
        raise UsageError(f"{target} is the name of the table; give the result a .json name")
    return target if target.suffix == ".json" else target.with_name(f"{target.name}.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise StoreError(f"there is no result {path}") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is not a repsim result, or cut short ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise StoreError(f"{path} is not a repsim result")
    version = content.get("format_version", 0)
    if not isinstance(version, int):
        raise StoreError(f"{path} is damaged: its format version is {shown(version)}")
    if version > FORMAT_VERSION:
        raise StoreError(
            f"{path} has format version {version}; this repsim reads up to "
            f"{FORMAT_VERSION}; a newer repsim will read it"
        )
    return content
