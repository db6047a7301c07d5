"""What ``--a simclr`` means: runs of the workspace, and files."""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from repsim.errors import StoreError, UsageError, choices

if TYPE_CHECKING:
    from repsim.activations import ActivationStore
    from repsim.activations.store.parts import JoinedStore
    from repsim.sources import ActivationSource
    from repsim.training.run import Extractor, Run


def find_run(name: str, runs: Path) -> Run:
    """The run ``name`` of the folder ``runs``, or at the path ``name``.

    Raises:
        UsageError: there is none; the runs that exist are listed.
    """
    from repsim.training.run import Run, find_runs

    for path in (runs / name, Path(name)):
        if Run(path).exists:
            return Run(path)
    known = [run.name for run in find_runs(runs)]
    raise UsageError(
        f"there is no run {name!r} in {runs}; "
        + (choices(name, known) if known else "make one with: repsim train METHOD")
    )


def check_name(name: str) -> str:
    """``name`` if a run may be called so: it is a folder, and ``@`` and a colon name parts of it.

    Raises:
        UsageError: it may not.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]{0,99}", name):
        raise UsageError(
            f"a run cannot be called {name!r}; take up to 100 letters, digits, '-', '_' and '.'"
        )
    return name


def parse_reference(reference: str, runs: Path) -> Extractor:
    """The extractor that ``RUN[@EPOCH][:EXTRACTOR]`` names.

    Raises:
        UsageError: there is none, or several.
    """
    found = expand_references((reference,), runs)
    if len(found) > 1:
        options = " or ".join(each.label for each in found)
        raise UsageError(f"{reference!r} names {len(found)} extractors; say {options}")
    return found[0]


def expand_references(references: tuple[str, ...], runs: Path) -> list[Extractor]:
    """Extractors of runs: without ``:EXTRACTOR`` all of a run, with ``@all`` after every epoch.

    Raises:
        UsageError: a run, extractor or epoch that is not there.
    """
    found = []
    for reference in references:
        where, _, extractor = reference.partition(":")
        name, _, when = where.rpartition("@")
        if not name or "/" in when:  # no epoch, but perhaps a path with such a sign
            name, when = where, ""
        run = find_run(name, runs)
        names = (extractor,) if extractor else run.extractors
        epochs = _epochs(run, reference, when) if name != where else [None]
        found += [run.extractor(each, epoch) for epoch in epochs for each in names]
    return list(dict.fromkeys(found))


def check_distinct(extractors: Sequence[Extractor]) -> None:
    """Raise ``UsageError`` where two runs have one name: nothing would tell them apart."""
    labels = [each.label for each in extractors]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"two of the runs are called {label!r}; rename the folder of one")


def _epochs(run: Run, reference: str, when: str) -> list[int | None]:
    """What ``@EPOCH`` or ``@all`` names of a run's series of checkpoints."""
    if when.isascii() and when.isdecimal():
        return [int(when)]
    if when != "all":
        raise UsageError(f"{reference!r} names no epoch; expected RUN@3, say, or RUN@all")
    if not run.epochs:
        raise UsageError(f"run {run.name!r} kept no checkpoints; train it with --save-every")
    return list(run.epochs)


@contextmanager
def open_activations(
    reference: str, runs: Path, *, split: str, data: str | None, data_dir: Path | None
) -> Iterator[ActivationSource]:
    """The store or .npy file at a path, or the store of a run on a part of its data set.

    A glob, as in ``shards/*.h5``, is the stores that match, one after the other in natural order.

    Raises:
        StoreError: nothing was harvested there; the command that would is named.
    """
    from repsim.activations import open_store

    store: ActivationStore | JoinedStore
    if reference.endswith(".npy"):
        yield _open_npy(Path(reference))
        return
    if Path(reference).is_file() or reference.endswith((".h5", ".hdf5")):
        store = open_store(matching(reference))
    else:
        extractor = parse_reference(reference, runs)
        store = open_extractor(extractor, split=split, data=data, data_dir=data_dir)
    with store:
        yield store


def matching(reference: str) -> str | list[str]:
    """The path itself, or the files that it matches as a glob: shard 2 before shard 10.

    Raises:
        StoreError: none matches.
    """
    if Path(reference).exists() or not glob.has_magic(reference):
        return reference
    found = glob.glob(reference)
    if not found:
        raise StoreError(f"no file matches {reference}; expected activation stores")
    return sorted(found, key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    """Text by letters, numbers by size."""
    return [(int(each), "") if each.isdigit() else (-1, each) for each in re.split(r"(\d+)", name)]


def _open_npy(path: Path) -> ActivationSource:
    """One layer (n, ...) in a NumPy file, read by blocks of rows."""
    import numpy as np

    from repsim.sources import ArraySource

    try:
        array = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise StoreError(f"there is no file {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"{path} is not an array of numbers ({error})") from error
    return ArraySource({path.stem: array}, name=path.stem)


def open_extractor(
    extractor: Extractor, *, split: str, data: str | None, data_dir: Path | None
) -> ActivationStore:
    """The store of an extractor on a part of ``data``, by default what it was trained on."""
    from repsim.activations import ActivationStore
    from repsim.activations.harvesting.runs import store_path
    from repsim.activations.store.format import part_path

    shown = "" if data is None else f" --data {shlex.quote(data)}"
    data = data or extractor.run.config.data
    path = store_path(extractor, slug_of(data, split, data_dir))
    if not path.is_file() and not part_path(path).is_file():
        name = extractor.label.partition(":")[0]
        reduced = " --pooling avg" if split.startswith("train") else ""
        raise StoreError(
            f"run {name!r} has no activations of {data} {split}; make them with: "
            f"repsim harvest {name}{shown} --split {shlex.quote(split)}{reduced}"
        )
    store = ActivationStore(path, name=extractor.label)
    recorded = store.provenance().get("checkpoint_sha256")
    if recorded != extractor.digest():
        store.close()
        raise StoreError(
            f"{path} was harvested from another checkpoint of {extractor.run.name!r}; harvest it "
            "again with --overwrite"
        )
    return store


def slug_of(data: str, split: str, data_dir: Path | None) -> str:
    """The part of a store's file name that says which images it shows."""
    from repsim.data import Split, find_set, load
    from repsim.data.imageset import slug

    parsed, named = Split.parse(split), find_set(data)
    if named is not None and str(parsed) == parsed.base in named.sizes:
        return slug(named.name, split)  # a whole split of a named set: no need to read it
    return load(data, split, data_dir=data_dir).slug


def result_path(
    output: Path | None, command: str, names: Sequence[str], *qualifiers: str | None
) -> Path:
    """Where a result goes: to ``output``, or by default ``results/COMMAND-NAME-NAME.json``.

    ``qualifiers`` are options that were given: results of other layers or another split do not
    compete for one name.
    """
    from repsim.results import result_file

    if output is not None:
        return result_file(output)
    parts = [command, *names, *(each for each in qualifiers if each)]
    return Path("results") / (
        "-".join(re.sub(r"\W+", "-", each).strip("-") for each in parts) + ".json"
    )
