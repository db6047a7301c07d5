"""Names of networks on the command line: runs, their extractors and checkpoints, files, layers.

``simclr`` is a run, ``mgan:classifier`` one of its extractors, ``simclr@3`` and ``simclr@all`` are
checkpoints of its series; ``fresh`` may also be a network whose activations were harvested or
imported, ``part.h5`` a store, ``'shards/*.h5'`` stores as one, ``layer.npy`` an array. ``@LAYERS``
after any of them chooses layers: ``simclr@even``, ``simclr@3@bg4.*``.
"""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim.errors import StoreError, UsageError, choices

if TYPE_CHECKING:
    from repsim.activations import ActivationStore
    from repsim.data import ImageSet
    from repsim.sources import ActivationSource
    from repsim.training.run import Extractor, Run

#: The folder of stores of networks that are no runs.
STORES = Path("activations")


@dataclass(frozen=True)
class Places:
    """Folders that names are looked up in, and the images that activations are of.

    Attributes:
        runs: folder of the runs.
        data: image set; None for the one that a run was trained on.
        data_dir: folder of the image sets; None for the usual one.
        image_size: height and width, as for ``repsim.data.load``; empty for those of a run.
        target: the one that gives the labels; empty for that of a run, or of a store.
        stores: folder of the stores of other networks.
    """

    runs: Path
    data: str | None = None
    data_dir: Path | None = None
    image_size: str = ""
    target: str = ""
    stores: Path = STORES

    @property
    def qualifier(self) -> str | None:
        """The images and the target in the name of a result; None where all is as usual."""
        given = [each for each in (self.data, self.image_size, self.target) if each]
        return "-".join(given) or None


@dataclass(frozen=True)
class Named:
    """The network that a name stands for: one of ``extractor``, ``network`` and ``file``.

    Attributes:
        text: the name as it was typed.
        places: where it was looked up.
        layers: patterns that the name ends with, or None.
        extractor: of a run.
        network: whose stores lie in the folder of stores.
        file: a store, a glob of stores or a .npy file.
    """

    text: str
    places: Places
    layers: str | None = None
    extractor: Extractor | None = None
    network: str | None = None
    file: str | None = None

    @property
    def label(self) -> str:
        """The name of the network in tables and figures."""
        if self.extractor is not None:
            return self.extractor.label
        if self.network is not None:
            return self.network
        assert self.file is not None
        if self.file.endswith(".npy"):
            return Path(self.file).stem
        with open_file(self.file) as source:
            return source.name

    def running(self) -> Extractor:
        """The extractor, which can be run.

        Raises:
            UsageError: the name is one of stored activations.
        """
        if self.extractor is None:
            raise UsageError(
                f"{self.text} is a file of activations; running the network needs a run"
            )
        return self.extractor

    @contextmanager
    def open(self, split: str) -> Iterator[ActivationSource]:
        """Its activations on a part of the images; a file has what it has.

        Raises:
            StoreError: there are none; the command that would make them is named.
        """
        if self.file is not None:
            with open_file(self.file) as source:
                yield source
            return
        places = self.places
        with (
            open_extractor(self.extractor, split, places)
            if self.extractor is not None
            else _open_network(self.network or "", split, places)
        ) as store:
            yield store

    def data(self) -> str:
        """The image set to show it."""
        return self.places.data or self.running().run.config.data

    def shown(self) -> tuple[str, str, str]:
        """The image set, the size of its images and the target of their labels."""
        run, places = self.running().run, self.places
        size = places.image_size or size_of(run)
        return self.data(), size, places.target or ("" if places.data else run.config.target)

    def images(self, split: str | None) -> ImageSet:
        """A part of that set, at the size that the network takes; None for what it was trained on.

        The labels are of the target that it was trained on, where the set is its own.
        """
        from repsim.data import load

        data, image_size, target = self.shown()
        trained = self.running().run.config.split if self.places.data is None else "train"
        return load(
            data,
            split or trained,
            data_dir=self.places.data_dir,
            image_size=image_size,
            target=target,
        )


def find(references: Sequence[str], places: Places) -> list[Named]:
    """The networks of names: without ``:EXTRACTOR`` all of a run, with ``@all`` every epoch.

    Raises:
        UsageError: a name of nothing, or an extractor or epoch that is not there.
    """
    found: dict[Any, Named] = {}
    for reference in references:
        for each in _find(reference, places):
            found.setdefault((each.extractor, each.network, each.file, each.layers), each)
    return list(found.values())


def find_one(reference: str, places: Places) -> Named:
    """The one network that a name stands for.

    Raises:
        UsageError: there is none, or several.
    """
    found = find([reference], places)
    if len(found) > 1:
        options = " or ".join(each.label for each in found)
        raise UsageError(f"{reference!r} names {len(found)} extractors; say {options}")
    return found[0]


def check_distinct(found: Sequence[Named]) -> None:
    """Raise ``UsageError`` where two networks have one name: nothing would tell them apart."""
    labels = [each.label for each in found]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"two of the runs are called {label!r}; rename the folder of one")


def _find(reference: str, places: Places) -> list[Named]:
    """The networks of one name; its longest beginning that is one, with the rest for layers."""
    ends = [*(at.start() for at in re.finditer("@", reference)), len(reference)]
    for end in reversed(ends):
        whole = _find_whole(reference[:end], places)
        if whole:
            return [replace(each, layers=reference[end + 1 :] or None) for each in whole]
    raise _nothing(reference, places)


def _find_whole(text: str, places: Places) -> list[Named]:
    """The networks of a name without layers; none where it is the name of nothing."""
    if text.endswith((".h5", ".hdf5", ".npy")) or Path(text).is_file():
        return [Named(text, places, file=text)]
    runs = _of_run(text, places)
    networks = _stores_of(text, places.stores)
    if runs and networks:
        raise UsageError(
            f"{text!r} is a run in {places.runs} and a network in {places.stores}; say "
            f"{places.runs / text} or the path of a store"
        )
    return runs or ([Named(text, places, network=text)] if networks else [])


# --- runs


def _of_run(text: str, places: Places) -> list[Named]:
    from repsim.training.run import Run

    where, _, name = text.partition(":")
    if "@" in name:  # layers follow
        return []
    path, _, when = where.rpartition("@")
    for folder, epochs in ((where, ""), (path, when)):
        run = _run_at(folder, places.runs)
        if run is None or (epochs and not re.fullmatch(r"\d+|all", epochs)):
            continue
        assert isinstance(run, Run)
        chosen = (name,) if name else run.extractors
        kept = _epochs(run, epochs) if epochs else [None]
        found = [run.extractor(each, epoch) for epoch in kept for each in chosen]
        return [Named(text, places, extractor=each) for each in dict.fromkeys(found)]
    return []


def _run_at(name: str, runs: Path) -> Run | None:
    from repsim.training.run import Run

    for path in (runs / name, Path(name)) if name else ():
        if Run(path).exists:
            return Run(path)
    return None


def _epochs(run: Run, when: str) -> list[int | None]:
    """The epochs that ``@EPOCH`` or ``@all`` names of a run's series of checkpoints."""
    if when != "all":
        return [int(when)]
    if not run.epochs:
        raise UsageError(f"run {run.name!r} kept no checkpoints; train it with --save-every")
    return list(run.epochs)


def find_run(name: str, runs: Path) -> Run:
    """The run ``name`` of the folder ``runs``, or at the path ``name``.

    Raises:
        UsageError: there is none; the runs that exist are listed.
    """
    from repsim.training.run import find_runs

    run = _run_at(name, runs)
    if run is not None:
        return run
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


def _nothing(reference: str, places: Places) -> UsageError:
    """The error about a name of nothing, with the nearest of all names."""
    from repsim.training.run import find_runs

    name = re.split("[@:]", reference, maxsplit=1)[0] or reference
    known = [run.name for run in find_runs(places.runs)] + _networks(places.stores)
    if not known:
        return UsageError(
            f"there is no run {name!r} in {places.runs}; make one with: repsim train METHOD"
        )
    return UsageError(f"there is no run {name!r} in {places.runs}; {choices(name, known)}")


def open_extractor(extractor: Extractor, split: str, places: Places) -> ActivationStore:
    """The store of an extractor on a part of an image set, by default of the run's own.

    Raises:
        StoreError: there is none, or it is of another checkpoint.
    """
    from repsim.activations import ActivationStore
    from repsim.activations.harvesting.runs import store_path
    from repsim.activations.store.format import part_path

    shown = "" if places.data is None else f" --data {shlex.quote(places.data)}"
    shown += f" --image-size {places.image_size}" if places.image_size else ""
    data = places.data or extractor.run.config.data
    size = places.image_size or size_of(extractor.run)
    path = store_path(extractor, slug_of(data, split, places.data_dir, size))
    if not path.is_file() and not part_path(path).is_file():
        name = extractor.label.partition(":")[0]
        reduced = " --pooling avg" if split.startswith("train") else ""
        raise StoreError(
            f"run {name!r} has no activations of {data} {split}; make them with: "
            f"repsim harvest {name}{shown} --split {shlex.quote(split)}{reduced}"
        )
    store = ActivationStore(path, name=extractor.label, target=places.target)
    recorded = store.provenance().get("checkpoint_sha256")
    if recorded != extractor.digest():
        store.close()
        raise StoreError(
            f"{path} was harvested from another checkpoint of {extractor.run.name!r}; harvest it "
            "again with --overwrite"
        )
    return store


def size_of(run: Run) -> str:
    """Height and width of the images that a run was trained on."""
    from repsim.data.size import size_text

    facts = run.describe()["facts"]
    return size_text((facts["height"], facts["width"]))


def slug_of(data: str, split: str, data_dir: Path | None, image_size: str) -> str:
    """The part of a store's file name that says which images it shows."""
    from repsim.data import Split, find_set, load
    from repsim.data.imageset import slug

    parsed, named = Split.parse(split), find_set(data)
    if named is not None and str(parsed) == parsed.base in named.sizes:
        size = named.size(image_size)  # a whole split of a named set: no need to read it
        return slug(named.name, split, None if size == named.default_size else size)
    return load(data, split, data_dir=data_dir, image_size=image_size).slug


# --- networks that are no runs


def _networks(stores: Path) -> list[str]:
    """The networks whose stores lie in a folder."""
    return sorted({_network_of(path) for path in stores.glob("*.h5")})


def _network_of(store: Path) -> str:
    """The network of ``NAME.h5`` or ``NAME.DATA-SPLIT.h5``, as its provenance says."""
    from repsim.activations import ActivationStore

    try:
        with ActivationStore(store) as opened:
            return str(opened.provenance().get("network", store.stem))
    except StoreError:  # damaged, or still being written: known by its name alone
        return store.stem


def _stores_of(network: str, stores: Path) -> list[Path]:
    """The stores of a network in a folder; those of ``a`` are not those of ``a.b``."""
    if not re.fullmatch(r"\w[\w.-]*", network):  # a path, a glob, or nothing
        return []
    named = sorted(stores.glob(f"{network}.*h5"))
    return [path for path in named if path.stem == network or _network_of(path) == network]


def _open_network(network: str, split: str, places: Places) -> ActivationStore:
    """The store of a network that is no run, on a part of an image set.

    Raises:
        StoreError: there is none.
        UsageError: there are several, of different image sets.
    """
    from repsim.activations import ActivationStore

    found = [
        path for path in _stores_of(network, places.stores) if _shows(path, network, split, places)
    ]
    if len(found) > 1:
        paths = " or ".join(map(str, found))
        raise UsageError(f"{network!r} has several stores; say --data, or the path: {paths}")
    if not found:
        there = ", ".join(str(path) for path in _stores_of(network, places.stores))
        of = split if places.data is None else f"{places.data} {split}"
        raise StoreError(f"{network!r} has no activations of {of}; there are: {there}")
    return ActivationStore(found[0], name=network)


def _shows(path: Path, network: str, split: str, places: Places) -> bool:
    """True if a store is of a part of an image set; one without an image set is of any."""
    from repsim.activations import ActivationStore
    from repsim.data import Split

    if path.stem == network:
        return True
    with ActivationStore(path) as store:
        about = store.provenance()
    same = places.data in (None, about.get("data"))
    return same and about.get("split") in (split, str(Split.parse(split)))


# --- files


@contextmanager
def open_file(reference: str) -> Iterator[ActivationSource]:
    """A store, the stores of a glob as one in natural order, or a .npy file of one layer.

    Raises:
        StoreError: there is no such file.
    """
    from repsim.activations import open_store

    if reference.endswith(".npy"):
        yield _open_npy(Path(reference))
        return
    with open_store(matching(reference)) as store:
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
