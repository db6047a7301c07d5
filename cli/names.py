"""Names of networks on the command line: runs, their extractors and checkpoints, files, layers.

``simclr`` is a run, ``mgan:classifier`` one of its extractors; ``simclr@3`` and ``simclr@all`` are
checkpoints of its series, as are ``mgan@3:classifier`` and ``mgan:classifier@3``; ``fresh`` may
also be a network whose activations were harvested or imported, ``part.h5`` a store,
``'shards/*.h5'`` stores as one, ``layer.npy`` an array. ``@LAYERS`` after any of them chooses
layers: ``simclr@even``, ``simclr@3@bg4.*``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from repsim.cli.reporting import say
from repsim.cli.stores import (
    Places,
    check_file,
    network_names,
    note_mixed,
    of_part,
    open_extractor,
    open_file,
    open_network,
    size_of,
    stores_of,
)
from repsim.errors import UsageError, choices

if TYPE_CHECKING:
    from repsim.activations.harvesting.brought import Brought
    from repsim.data import ImageSet
    from repsim.sources import ActivationSource
    from repsim.training.run import Extractor, Run

#: The text after ``@`` that is a checkpoint of a series; other text is layers.
EPOCHS = r"\d+|all"


class Opened(NamedTuple):
    """Activations that were opened, and a remark where their images could not be compared."""

    source: ActivationSource
    remark: str = ""


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

    @property
    def called(self) -> str:
        """The name with its layers: ``simclr@even``."""
        return self.label if self.layers is None else f"{self.label}@{self.layers}"

    def running(self) -> Extractor | Brought:
        """The network, which can be run.

        Raises:
            UsageError: the name is one of activations alone.
        """
        from repsim.activations.harvesting.brought import Brought

        if self.extractor is not None:
            return self.extractor
        if self.network is None:
            raise UsageError(
                f"{self.text} has stored activations only; running the network needs a run, or the "
                "name of a network that repsim harvest --model stored"
            )
        return Brought.of(self.network, self.harvested())

    def harvested(self) -> Mapping[str, Any]:
        """The record of a harvest of a network that is no run."""
        from repsim.activations.store.unfinished import provenance_of

        stores = stores_of(self.network or "", self.places.stores)
        records = [provenance_of(path) for path in stores]
        digests = {each.get("weights_sha256") for each in records}
        if len(digests) > 1:
            raise UsageError(
                f"{self.network!r} has stores of different weights; harvest all of it again, with "
                "--overwrite"
            )
        return next((each for each in records if "model" in each), records[0])

    @contextmanager
    def open(self, split: str, *, strict: bool = False) -> Iterator[Opened]:
        """Its activations on a part of the images; a file has what it has.

        Args:
            split: the part.
            strict: a file that says it is of another part is no answer; a store of this part by
                the same network is looked for beside it.

        Raises:
            StoreError: there are none; the command that would make them is named.
            UsageError: they have no such target.
        """
        places = self.places
        if self.file is not None:
            file = of_part(self.file, split) if strict else self.file
            with open_file(file, places.target) as source:
                check_file(source, file, split, places)
                note_mixed(source)
                yield Opened(source)
            return
        store, remark = (
            open_extractor(self.extractor, split, places)
            if self.extractor is not None
            else open_network(self.network or "", split, places)
        )
        with store:
            yield Opened(store, remark)

    def data(self) -> str:
        """The image set to show it."""
        if self.places.data is not None:
            return self.places.data
        if self.extractor is not None:
            return self.extractor.run.config.data
        about = self.harvested()
        return str(about.get("data_path") or about["data"])

    def shown(self) -> tuple[str, str, str]:
        """The image set, the size of its images and the target of their labels."""
        places = self.places
        if self.extractor is None:
            size = str(self.harvested().get("image_size") or "")
            return self.data(), places.image_size or size, places.target
        run = self.extractor.run
        size = places.image_size or size_of(run)
        return self.data(), size, places.target or ("" if places.data else run.config.target)

    def images(self, split: str | None) -> ImageSet:
        """A part of that set, at the size that the network takes; None for what it was trained on.

        The labels are of the target that it was trained on, where the set is its own.
        """
        from repsim.data import load

        data, image_size, target = self.shown()
        own = self.extractor is not None and self.places.data is None
        trained = self.extractor.run.config.split if own and self.extractor else "train"
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


def check_distinct(found: Sequence[Named], *, joined: bool = False) -> None:
    """Raise ``UsageError`` where two networks have one name: nothing would tell them apart.

    Args:
        found: the networks, each with its layers.
        joined: True if one result holds all; layers alone then do not tell networks apart.
    """
    called = [each.label if joined else each.called for each in found]
    for name, first in zip(called, found, strict=True):
        same = [each for each, other in zip(found, called, strict=True) if other == name]
        if len({each.layers for each in same}) > 1:
            raise UsageError(
                f"one result would hold {first.label!r} twice; name it once, with all of its layers"
            )
        if len(same) > 1:
            raise UsageError(
                f"two of the networks are called {name!r}; rename the folder or the store of one"
            )


def note_same(found: Sequence[Named], stores: Sequence[Mapping[str, ActivationSource]]) -> None:
    """Say so where two networks that are compared, with the same layers, are one.

    Args:
        found: the networks, as they were named.
        stores: the activations of each, by part.
    """
    if len(stores) < 2 or len({each.layers for each in found}) > 1:
        return
    sources = [next(iter(parts.values())) for parts in stores]
    files = {_file_of(each, source) for each, source in zip(found, sources, strict=True)}
    weights = {source.provenance().get("weights_sha256") for source in sources}
    names = " and ".join(each.text for each in found)
    if len(files) == 1 and None not in files:
        say(f"note: {names} are one store; each layer is compared with itself too")
    elif len(weights) == 1 and None not in weights:
        say(f"note: {names} are harvests of the same weights")


def _file_of(named: Named, source: ActivationSource) -> Path | None:
    """The file that activations are read from; None of several."""
    path = getattr(source, "path", None)
    if path is None and named.file is not None and Path(named.file).is_file():
        path = named.file
    return None if path is None else Path(path).resolve()


def _find(reference: str, places: Places) -> list[Named]:
    """The networks of one name; its longest beginning that is one, with the rest for layers.

    Raises:
        UsageError: nothing has the name, or nothing follows an ``@``.
    """
    if "" in reference.split("@")[1:]:
        raise UsageError(
            f"{reference!r} has nothing after @; expected layers or an epoch, as in "
            f"{reference.partition('@')[0]}@even"
        )
    ends = [*(at.start() for at in re.finditer("@", reference)), len(reference)]
    for end in reversed(ends):
        whole = _find_whole(reference[:end], places)
        if whole:
            layers = reference[end + 1 :]
            _check_order(reference[:end], layers)
            return [replace(each, layers=layers or None) for each in whole]
    raise _nothing(reference, places)


def _check_order(name: str, layers: str) -> None:
    """Refuse a checkpoint behind layers, which would be one more pattern of layers."""
    chosen, at, epoch = layers.rpartition("@")
    if at and re.fullmatch(EPOCHS, epoch):
        raise UsageError(
            f"'{name}@{layers}' has a checkpoint, {epoch}, behind its layers; expected it before "
            f"them, as in {name}@{epoch}@{chosen}"
        )


def _find_whole(text: str, places: Places) -> list[Named]:
    """The networks of a name without layers; none where it is the name of nothing."""
    if text.endswith((".h5", ".hdf5", ".npy")) or Path(text).is_file():
        _check_plain(text, places)
        return [Named(text, places, file=text)]
    runs = _of_run(text, places)
    networks = stores_of(text, places.stores)
    if runs and networks:
        raise UsageError(
            f"{text!r} is a run in {places.runs} and a network in {places.stores}; say "
            f"{places.runs / text} or the path of a store"
        )
    if networks:
        _check_plain(text, places)
    return runs or ([Named(text, places, network=text)] if networks else [])


def _check_plain(text: str, places: Places) -> None:
    """Refuse a choice of statistics for stored activations, whose statistics are fixed."""
    if places.statistics != "own":
        raise UsageError(
            f"{text!r} has stored activations, whose statistics were chosen when they were "
            "harvested; leave out --statistics"
        )


# --- runs


def _of_run(text: str, places: Places) -> list[Named]:
    """The extractors of ``RUN[@EPOCH][:EXTRACTOR]`` or ``RUN:EXTRACTOR@EPOCH``."""
    where, _, name = text.partition(":")
    name, at, when = name.partition("@")
    if at and not re.fullmatch(EPOCHS, when):  # layers follow
        return []
    path, _, before = where.rpartition("@")
    for folder, epochs in ((where, ""), (path, before)):
        run = _run_at(folder, places.runs)
        if run is not None and (folder == where or re.fullmatch(EPOCHS, epochs)):
            if epochs and when:
                raise UsageError(f"{text!r} names two checkpoints; leave out @{epochs} or @{when}")
            chosen = _chosen(run, name, epochs or when, places)
            return [Named(text, places, extractor=each) for each in chosen]
    return []


def _chosen(run: Run, name: str, when: str, places: Places) -> list[Extractor]:
    """The extractor ``name`` of a run, or all, at the checkpoints that ``when`` names."""
    names = (name,) if name else run.extractors
    kept = _epochs(run, when) if when else [None]
    about: dict[str, Any] = {"statistics": places.statistics, "data_dir": places.data_dir}
    return [
        run.extractor(each, epoch, **about)
        for epoch in dict.fromkeys(kept)
        for each in dict.fromkeys(names)
    ]


def _run_at(name: str, runs: Path) -> Run | None:
    from repsim.training.run import Run

    for path in (runs / name, Path(name)) if name else ():
        if Run(path).is_run:
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
            f"a run or network cannot be called {name!r}; take up to 100 letters, digits, '-', "
            "'_' and '.'"
        )
    return name


def _nothing(reference: str, places: Places) -> UsageError:
    """The error about a name of nothing, with the nearest of all names."""
    from repsim.training.run import find_runs

    if reference.startswith("@"):
        return UsageError(
            f"{reference!r} chooses layers of no network; expected its name before them, as in "
            f"simclr{reference}"
        )
    name = re.split("[@:]", reference, maxsplit=1)[0] or reference
    known = [run.name for run in find_runs(places.runs)] + network_names(places.stores)
    missing = f"there is no run {name!r} in {places.runs}, and no network in {places.stores}"
    if not known:
        return UsageError(
            f"{missing}; make one with: repsim train METHOD, or repsim harvest --model MODEL"
        )
    return UsageError(f"{missing}; {choices(name, known)}")
