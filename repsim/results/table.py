"""Tables of named columns, for results that are neither curves nor maps."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from repsim.errors import UsageError, choices
from repsim.results.base import Result
from repsim.results.records import REQUIRED, Record, plain

#: A cell holds a text, a truth value or a number; NaN stands for a number that is missing.
Cell = str | bool | int | float


@dataclass(frozen=True)
class Column(Record):
    """A column of a table.

    Attributes:
        name: the key of its cells in records and in the CSV.
        unit: of its numbers, such as ``%``; empty where they have none.
        description: a sentence on its cells; empty where the name says enough.
    """

    name: str
    unit: str = ""
    description: str = ""

    @property
    def title(self) -> str:
        """The name with its unit, as the head of a printed table has it."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @classmethod
    def parse(cls, title: str) -> Column:
        """The column with a title such as ``accuracy (%)``."""
        found = re.fullmatch(r"(.+) \((.+)\)", title)
        return cls(title) if found is None else cls(found[1], found[2])


@dataclass(frozen=True, eq=False)
class Table(Result):
    """Numbers and texts in named columns.

    Attributes:
        name: title of the table, such as ``layer identification``.
        columns: the columns, from the left.
        cells: (rows, columns) texts, truth values and numbers; NaN for a number that is missing.
        caption: the text below it.
        provenance: where the numbers come from.

    Raises:
        UsageError: no columns, two of one name, a row of another length, or other cells.
    """

    kind: ClassVar[str] = "table"

    name: str
    columns: tuple[Column, ...]
    cells: tuple[tuple[Cell, ...], ...]
    caption: str = field(default="", metadata=REQUIRED)
    provenance: dict[str, Any] = field(default_factory=dict, metadata=REQUIRED)

    def __post_init__(self) -> None:
        names = self.names
        if not names or len(set(names)) < len(names):
            raise UsageError(f"the columns of {self.name!r} are {names}; expected distinct names")
        for k, row in enumerate(self.cells):
            self._check_row(row, k)

    def _check_row(self, row: Sequence[Any], k: int) -> None:
        if len(row) != len(self.columns):
            raise UsageError(
                f"row {k} of {self.name!r} has {len(row)} cells; expected {len(self.columns)}"
            )
        for column, cell in zip(self.columns, row, strict=True):
            if not isinstance(cell, (str, bool, int, float)):
                raise UsageError(
                    f"row {k} of {self.name!r} has {cell!r:.40} as {column.name}; expected a text, "
                    "a truth value or a number, NaN for one that is missing"
                )

    @classmethod
    def of(
        cls,
        name: str,
        records: Iterable[Mapping[str, Any]],
        *,
        caption: str = "",
        units: Mapping[str, str] | None = None,
        descriptions: Mapping[str, str] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Table:
        """The table of records with the same keys; a cell that is None becomes NaN.

        Args:
            name: title of the table.
            records: at least one; the keys of the first are the columns.
            caption: the text below it.
            units: column to the unit of its numbers.
            descriptions: column to a sentence on its cells.
            provenance: where the numbers come from.

        Raises:
            UsageError: no record, one with other keys than the first, a unit or description of no
                column, or cells that cannot be.
        """
        rows = [dict(record) for record in records]
        if not rows:
            raise UsageError(f"{name!r} has no records; expected at least one")
        names = list(rows[0])
        for k, row in enumerate(rows):
            if row.keys() != rows[0].keys():
                raise UsageError(f"row {k} of {name!r} has the columns {[*row]}; expected {names}")
        units, descriptions = units or {}, descriptions or {}
        for key in (*units, *descriptions):
            if key not in names:
                raise UsageError(f"{name!r} has no column {key!r}; {choices(key, names)}")
        return cls(
            name=name,
            columns=tuple(Column(n, units.get(n, ""), descriptions.get(n, "")) for n in names),
            cells=tuple(tuple(_cell(row[n]) for n in names) for row in rows),
            caption=caption,
            provenance=dict(provenance or {}),
        )

    @classmethod
    def _converted(cls, content: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The content of a figure of one panel of lines, which tables once were saved as."""
        if content.get("kind") != "figure-data" or len(content["panels"]) != 1:
            return None
        (panel,) = content["panels"]
        if panel["type"] != "lines":
            return None
        columns = {panel["xlabel"]: panel["x"]}
        for series in panel["series"]:
            columns[series["label"] or panel["ylabel"]] = series["values"]
        return {
            **content,
            "columns": plain([Column.parse(title) for title in columns]),
            "cells": [list(row) for row in zip(*columns.values(), strict=True)],
        }

    @property
    def names(self) -> list[str]:
        """Names of the columns, from the left."""
        return [column.name for column in self.columns]

    def column(self, name: str) -> list[Any]:
        """The cells of a column, from above.

        Raises:
            UsageError: there is no such column.
        """
        if name not in self.names:
            raise UsageError(f"{self.name!r} has no column {name!r}; {choices(name, self.names)}")
        place = self.names.index(name)
        return [row[place] for row in self.cells]

    def headline(self) -> str:
        rows = f"{len(self.cells):,} row{'' if len(self.cells) == 1 else 's'}"
        return f"{self.name:.60}: {rows}, {len(self.columns)} columns"

    def _picture(self) -> str:
        return ""  # a picture of the table would say it twice

    def rows(self) -> list[dict[str, Any]]:
        """A record a row, by the names of the columns."""
        return [dict(zip(self.names, row, strict=True)) for row in self.cells]


def _cell(value: Any) -> Any:
    """A cell as Python has it."""
    if value is None:
        return math.nan
    return value.item() if isinstance(value, np.generic) else value
