"""The runs, networks, results and figures of a workspace, and the results made from each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from repsim.cli.stores import STORES, network_names, stores_of
from repsim.cli.writing import TOGETHER
from repsim.errors import UsageError, choices
from repsim.files import sha256
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
        read: the provenance of a result, which was read to list it; None of other things.
    """

    kind: str
    name: str
    paths: tuple[Path, ...]
    about: str
    read: Mapping[str, Any] | None = field(default=None, repr=False)

    @cached_property
    def files(self) -> list[Path]:
        """All of its files."""
        inside = (path.rglob("*") if path.is_dir() else [path] for path in self.paths)
        return [file for each in inside for file in each if file.is_file()]

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        """The origin of the numbers of a result or a figure; empty where it is not known."""
        if self.read is not None:
            return self.read
        return _drawn_from(self.paths) if self.kind == "figure" else {}

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


def find_thing(name: str, known: Sequence[Thing]) -> Thing:
    """The one thing of a name or a path, among those that are known.

    Raises:
        UsageError: there is none, or there are several.
    """
    found = [each for each in known if each.name == name]
    if len(found) > 1:
        kinds = " and ".join(f"a {each.kind} ({each.paths[0]})" for each in found)
        raise UsageError(f"{name!r} is {kinds}; say the path of one")
    path = Path(name)
    if not found and path.is_file() and path.suffix in (".h5", ".hdf5"):
        return _store(path)  # alone, though a network may have it and others
    found = found or [each for each in known if _same(path, each.paths[0])]
    found = found or [each for each in known if each.kind == "figure" and path in each.paths]
    if not found:
        listed = choices(name, [each.name for each in known])
        raise UsageError(f"there is no run, network, result or figure {name!r}; {listed}")
    return found[0]


def hanging_on(thing: Thing, known: Sequence[Thing]) -> list[Thing]:
    """The results and figures, among the known things, that were made from another thing."""
    records = _records(thing)
    made = [each for each in known if each.kind in ("result", "figure") and each != thing]
    return [each for each in made if records and _is_made_of(each, records)]


def _is_made_of(made: Thing, records: Sequence[Mapping[str, Any]]) -> bool:
    """True if the provenance of a result or a figure has one of the records, whole.

    Values are compared as text: captions have no others.
    """
    inside = [
        {key: str(value) for key, value in each.items()} for each in mappings(made.provenance)
    ]
    texts = [{key: str(value) for key, value in record.items()} for record in records]
    return any(record.items() <= each.items() for record in texts for each in inside)


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
    if thing.kind == "result":
        return [{"from_sha256": sha256(thing.paths[0])}]
    keys = {"network": _OF_NETWORK, "store": _OF_STORE}.get(thing.kind, ())
    return [_record(path, keys) for path in thing.paths if keys]


def _record(store: Path, keys: Sequence[str]) -> dict[str, Any]:
    """The provenance of a store, as far as results repeat it."""
    from repsim.activations.store.unfinished import provenance_of

    about = provenance_of(store)
    return {key: about[key] for key in keys if about.get(key) is not None}


def _drawn_from(paths: Sequence[Path]) -> Mapping[str, Any]:
    """The provenance of a figure: the metadata of its PNG, else the lines of its caption."""
    from PIL import Image

    for path in paths:
        if path.suffix == ".png":
            with suppress(*DAMAGE), Image.open(path) as image:
                return dict(parse_json(image.info.get("Description", "")))
    found: dict[str, dict[str, str]] = {}
    for line in _caption_of(paths[0])[1:]:
        key, _, value = line.partition(": ")
        record, _, name = key.rpartition(".")
        found.setdefault(record, {})[name] = value
    return found


def _caption_of(drawn: Path) -> list[str]:
    """The lines of the caption beside a figure; none where there is no caption."""
    caption = drawn.with_suffix(".txt")
    return caption.read_text("utf-8", "surrogateescape").splitlines() if caption.is_file() else []


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

    begun = _unfinished()
    for name in sorted({*network_names(STORES), *begun}):
        stores, parts = stores_of(name, STORES), begun.get(name, {})
        told = [or_fault(about_store, path).replace(f"{name}, ", "") for path in stores]
        about = "; ".join([*told, *parts.values()])
        yield Thing("network", name, (*stores, *parts), about)


def _unfinished() -> dict[str, dict[Path, str]]:
    """Stores that harvests of networks have not finished, and words on each, by the network."""
    from repsim.activations.store.unfinished import provenance_of

    found: dict[str, dict[Path, str]] = {}
    for path in sorted(STORES.glob("*.h5.part")):
        about = provenance_of(path)
        images = [str(about[key]) for key in ("data", "split") if key in about]
        name = str(about.get("network", path.name.removesuffix(".h5.part")))
        found.setdefault(name, {})[path] = " ".join([*images, "unfinished"])
    return found


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
    return Thing("result", path.stem, files, result.headline(), result.provenance)


def _is_joint(drawn: Path) -> bool:
    """True of a figure of several results, which belongs to none of them; its caption tells it."""
    return any(line.startswith(f"{TOGETHER}.") for line in _caption_of(drawn))
