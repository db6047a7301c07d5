"""Targets from a table of files: ``targets.csv`` in a folder of images."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from repsim.data.locate import unreadable
from repsim.data.targets import LABEL, Target
from repsim.errors import DataError


def read_targets(path: Path, ids: Sequence[str]) -> tuple[Target, ...]:
    """The targets of images, by their ids; none where there is no such file.

    The first line names the columns: ``file``, then targets. A column ``NAME`` is a target whose
    classes are its distinct texts; columns ``NAME:PART`` are one target NAME of zeros and ones.

    Raises:
        DataError: another table, an image without a row, or other numbers than zeros and ones.
    """
    if not path.is_file():
        return ()
    names, rows = _read(path)
    if absent := next((each for each in ids if each not in rows), None):
        raise DataError(f"{path}: no row for {absent}; expected one for every image")
    targets = []
    for name in dict.fromkeys(each.partition(":")[0] for each in names):
        places = [k for k, each in enumerate(names) if each.partition(":")[0] == name]
        make = _parts if ":" in names[places[0]] else _classes
        targets.append(make(path, name, [names[k] for k in places], places, rows, ids))
    return tuple(targets)


def class_names(labels: set[str]) -> tuple[str, ...]:
    """The labels in order: as numbers if all are, else as texts."""
    numbers = all(label.isdecimal() and label.isascii() for label in labels)
    return tuple(sorted(labels, key=lambda label: (len(label) if numbers else 0, label)))


def _read(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """The names of the targets' columns, and their cells by file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header, *rows = [row for row in csv.reader(stream, strict=True) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, "a .csv file in UTF-8", error) from None
    names = [each.strip() for each in header]
    if names[:1] != ["file"] or len(set(names)) < len(names) or len(names) < 2 or "" in names:
        raise DataError(f"{path}: expected a first line 'file,NAME,...', got {','.join(names)!r}")
    if LABEL in names:
        raise DataError(f"{path}: a target cannot be called {LABEL!r}, which is the folder's class")
    for line, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise DataError(f"{path}, row {line}: {len(row)} cells; expected {len(names)}")
    counts = Counter(row[0] for row in rows)
    if twice := next((name for name, count in counts.items() if count > 1), None):
        raise DataError(f"{path}: {counts[twice]} rows for {twice}; expected one")
    return names[1:], {row[0]: [each.strip() for each in row[1:]] for row in rows}


def _classes(
    path: Path,
    name: str,
    columns: Sequence[str],
    places: Sequence[int],
    rows: Mapping[str, Sequence[str]],
    ids: Sequence[str],
) -> Target:
    if len(columns) > 1:
        raise DataError(f"{path}: target {name!r} is both a column and columns {name}:PART")
    classes = class_names({row[places[0]] for row in rows.values()})
    numbers = {each: number for number, each in enumerate(classes)}
    return Target(name, torch.tensor([numbers[rows[each][places[0]]] for each in ids]), classes)


def _parts(
    path: Path,
    name: str,
    columns: Sequence[str],
    places: Sequence[int],
    rows: Mapping[str, Sequence[str]],
    ids: Sequence[str],
) -> Target:
    cells = [[rows[each][place] for place in places] for each in ids]
    wrong = next((cell for row in cells for cell in row if cell not in ("0", "1")), None)
    if wrong is not None:
        raise DataError(f"{path}: target {name!r} has {wrong!r}; expected 0 or 1")
    parts = tuple(each.partition(":")[2] for each in columns)
    values = torch.tensor([[int(cell) for cell in row] for row in cells], dtype=torch.uint8)
    return Target(name, values.reshape(len(ids), len(parts)), parts)
