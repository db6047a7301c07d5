"""The runs, networks, results and figures of a workspace, and the results made from each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from repsim.cli.stores import STORES, network_names, stores_of
from repsim.cli.writing import TOGETHER
from repsim.errors import UsageError, choices
from repsim.nested import mappings
from repsim.reading import DAMAGE, parse_json

#: The folder of results and figures.
RESULTS = Path("results")

#: Records that tell one store from another.
_OF_STORE = (
    "network",
    "run",
    "extractor",
    "epoch",
    "batch_statistics",
    "checkpoint_sha256",
    "weights_sha256",
    "imported",
    "data",
    "split",
    "n",
    "pooling",
)

#: Records that tell one network from another, whatever it was shown.
_OF_NETWORK = ("network", "weights_sha256", "imported")

#: Endings of the files of a figure.
_DRAWN = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class Thing:
    """Something that commands made.

    Attributes:
        kind: ``run``, ``network``, ``store``, ``result`` or ``figure``.
        name: as commands take it.
        paths: its files, or its folder.
        about: words on its content.
    """

    kind: str
    name: str
    paths: tuple[Path, ...]
    about: str

    @cached_property
    def files(self) -> list[Path]:
        """All of its files."""
        inside = (path.rglob("*") if path.is_dir() else [path] for path in self.paths)
        return [file for each in inside for file in each if file.is_file()]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def changed(self) -> float:
        """Time of the last change, in seconds since 1970."""
        return max((file.stat().st_mtime for file in self.files), default=0.0)


def inventory(runs: Path) -> list[Thing]:
    """Everything in the folders of runs, stores and results."""
    return [*_runs(runs), *_networks(), *_results()]


def find_thing(name: str, runs: Path) -> Thing:
    """The one thing of a name or a path.

    Raises:
        UsageError: there is none, or there are several.
    """
    known = inventory(runs)
    found = [each for each in known if each.name == name]
    if len(found) > 1:
        kinds = " and ".join(f"a {each.kind} ({each.paths[0]})" for each in found)
        raise UsageError(f"{name!r} is {kinds}; say the path of one")
    path = Path(name)
    found = found or [each for each in known if _same(path, each.paths[0])]
    found = found or [each for each in known if each.kind == "figure" and path in each.paths]
    if not found and path.is_file() and path.suffix in (".h5", ".hdf5"):
        return _store(path)
    if not found:
        raise UsageError(f"there is no {name!r}; {choices(name, [each.name for each in known])}")
    return found[0]


def hanging_on(thing: Thing) -> list[Thing]:
    """The results and figures that were made from a run, a network or a store."""
    records = _records(thing)
    return [each for each in _results() if records and _is_made_of(each, records)]


def _is_made_of(result: Thing, records: Sequence[Mapping[str, Any]]) -> bool:
    """True if the provenance of a result or a figure has one of the records, whole."""
    inside = list(mappings(_provenance(result)))
    return any(record.items() <= each.items() for record in records for each in inside)


def _same(a: Path, b: Path) -> bool:
    return a.exists() and b.exists() and a.resolve() == b.resolve()


def _records(thing: Thing) -> list[dict[str, Any]]:
    """Records of a thing; a result made from it repeats at least one, whole."""
    from repsim.training.run import Run

    if thing.kind == "run":
        run = Run(thing.paths[0])
        ends = [None] if run.complete else []
        digests = [run.digest(epoch) for epoch in [*ends, *run.epochs]]
        return [{"run": run.name, "checkpoint_sha256": each} for each in digests]
    keys = {"network": _OF_NETWORK, "store": _OF_STORE}.get(thing.kind, ())
    return [_record(path, keys) for path in thing.paths if keys]


def _record(store: Path, keys: Sequence[str]) -> dict[str, Any]:
    """The provenance of a store, as far as results repeat it."""
    from repsim.activations.store.unfinished import provenance_of

    about = provenance_of(store)
    return {key: about[key] for key in keys if about.get(key) is not None}


def _provenance(made: Thing) -> Mapping[str, Any]:
    """The provenance of a result; of a figure by itself, the metadata of its PNG."""
    from PIL import Image

    from repsim.results import Result

    if made.kind == "result":
        result: Result = Result.load(made.paths[0])
        return result.provenance
    for path in made.paths:
        if path.suffix == ".png":
            with suppress(*DAMAGE), Image.open(path) as image:
                return dict(parse_json(image.info.get("Description", "")))
    return {}


# --- runs and networks


def _runs(folder: Path) -> Iterator[Thing]:
    from repsim.cli.contents import about_run, or_fault
    from repsim.training.run import find_runs

    for run in find_runs(folder):
        stores = len(list(run.path.glob("activations/*.h5")))
        held = f", {stores} harvest{'s' if stores > 1 else ''}" if stores else ""
        yield Thing("run", run.name, (run.path,), or_fault(about_run, run.path) + held)


def _networks() -> Iterator[Thing]:
    from repsim.cli.contents import about_store, or_fault

    for name in network_names(STORES):
        stores = tuple(stores_of(name, STORES))
        about = "; ".join(or_fault(about_store, path) for path in stores)
        yield Thing("network", name, stores, about.replace(f"{name}, ", ""))


def _store(path: Path) -> Thing:
    """A store by itself."""
    from repsim.cli.contents import about_store, or_fault

    return Thing("store", str(path), (path,), or_fault(about_store, path))


# --- results and figures


def _results() -> Iterator[Thing]:
    """Results with their tables and figures, then figures by themselves."""
    taken: set[Path] = set()
    for path in sorted(RESULTS.glob("*.json")):
        found = _result(path)
        if found is not None:
            taken |= set(found.paths)
            yield found
    stems: dict[str, list[Path]] = {}
    for path in sorted(RESULTS.glob("*")):
        if path.suffix in _DRAWN and path not in taken:
            stems.setdefault(path.stem, []).append(path)
    for stem, paths in stems.items():
        endings = " and ".join(path.suffix[1:].upper() for path in reversed(paths))
        caption = RESULTS / f"{stem}.txt"
        files = (*paths, *([caption] if caption.is_file() else []))
        yield Thing("figure", stem, files, endings)


def _result(path: Path) -> Thing | None:
    """The result in a file, with its table and its figures; None of other JSON."""
    from repsim.cli.contents import result_in

    result = result_in(path)
    if result is None:
        return None
    longer = [each.stem for each in RESULTS.glob(f"{path.stem}-*.json")]
    drawn = [
        each
        for each in sorted(RESULTS.glob(f"{path.stem}-*"))
        if each.suffix in (*_DRAWN, ".txt")
        and not any(f"{each.stem}-".startswith(f"{name}-") for name in longer)
        and not _is_joint(each)
    ]
    beside = [path.with_suffix(ending) for ending in (".csv", ".txt", *_DRAWN)]
    files = (path, *(each for each in [*beside, *drawn] if each.is_file()))
    return Thing("result", path.stem, files, result.headline())


def _is_joint(drawn: Path) -> bool:
    """True of a figure of several results, which belongs to none of them; its caption tells it."""
    caption = drawn.with_suffix(".txt")
    if not caption.is_file():
        return False
    lines = caption.read_text("utf-8", "surrogateescape").splitlines()
    return any(line.startswith(f"{TOGETHER}.") for line in lines)
