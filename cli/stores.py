"""Stores of activations on the command line: of runs, of other networks, and files by path."""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim.cli.reporting import say
from repsim.cli.shown import contradicts, is_of, shows, tell_apart
from repsim.errors import StoreError, UsageError

if TYPE_CHECKING:
    from repsim.activations import ActivationStore
    from repsim.sources import ActivationSource
    from repsim.training.run import Extractor, Run
    from repsim.training.sides import Choice

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
        verify: compare stores with the images that they are opened for.
        statistics: of batch normalisation, as of ``Run.extractor``.
    """

    runs: Path
    data: str | None = None
    data_dir: Path | None = None
    image_size: str = ""
    target: str = ""
    stores: Path = STORES
    verify: bool = False
    statistics: Choice = "own"

    @property
    def qualifier(self) -> str | None:
        """The images and the target in the name of a result; None where all is as usual."""
        size = f"size-{self.image_size}" if self.image_size else ""
        target = f"target-{self.target}" if self.target else ""
        under = "" if self.statistics == "own" else f"statistics-{self.statistics}"
        return "-".join(filter(None, (self.data, size, target, under))) or None


def open_extractor(extractor: Extractor, split: str, places: Places) -> tuple[ActivationStore, str]:
    """The store of an extractor on a part of an image set, and a remark on it.

    The set is by default that of the run.

    Raises:
        StoreError: there is none, or it is of another checkpoint or of other images.
    """
    from repsim.activations import ActivationStore
    from repsim.activations.harvesting.runs import store_path
    from repsim.activations.store.format import part_path
    from repsim.activations.store.reader import closed_by_errors
    from repsim.cli.examples import Shown, check_shown

    shown = "" if places.data is None else f" --data {shlex.quote(places.data)}"
    shown += f" --image-size {places.image_size}" if places.image_size else ""
    shown += "" if places.statistics == "own" else f" --statistics {places.statistics}"
    data = places.data or extractor.run.config.data
    size = places.image_size or size_of(extractor.run)
    images = Shown.find(data, split, places.data_dir, size)
    path = store_path(extractor, images.slug)
    if extractor.statistics == "mixed" and not path.is_file():
        path = store_path(replace(extractor, statistics="own"), images.slug)  # of earlier versions
    if not path.is_file() and not part_path(path).is_file():
        name = extractor.label.partition(":")[0]
        reduced = " --pooling avg" if split.startswith("train") else ""
        raise StoreError(
            f"run {name!r} has no activations of {data} {split}; make them with: "
            f"repsim harvest {name}{shown} --split {shlex.quote(split)}{reduced}"
        )
    store = ActivationStore(path, name=extractor.label, target=places.target)
    with closed_by_errors(store):
        recorded = store.provenance().get("checkpoint_sha256")
        if recorded != extractor.digest():
            raise StoreError(
                f"{path.absolute()} was harvested from another checkpoint of "
                f"{extractor.run.name!r}; harvest it again with --overwrite"
            )
        _check_statistics(store, extractor)
        return store, check_shown(store, images, verify=places.verify)


def _check_statistics(store: ActivationStore, extractor: Extractor) -> None:
    """Compare the statistics of batch normalisation of a store with those that are asked for.

    Raises:
        StoreError: they are others.
    """
    from repsim.activations.harvesting.provenance import batch_statistics

    wanted = extractor.statistics_for("real")
    recorded = batch_statistics(store.provenance()) or "mixed"
    if wanted not in (None, recorded):
        raise StoreError(
            f"{store.path.absolute()} was harvested with {recorded} batch statistics, not those of "
            f"{wanted} images; harvest it again with --overwrite, or pass --statistics {recorded}"
        )


def size_of(run: Run) -> str:
    """Height and width of the images that a run was trained on."""
    from repsim.data.size import size_text

    facts = run.describe()["facts"]
    return size_text((facts["height"], facts["width"]))


# --- networks that are no runs


def network_names(stores: Path) -> list[str]:
    """The networks whose stores lie in a folder."""
    return sorted({_network_of(path) for path in stores.glob("*.h5")})


def _network_of(store: Path) -> str:
    """The network of ``NAME.h5`` or ``NAME.DATA-SPLIT.h5``, as its provenance says.

    The file is not checked: a shell that completes names waits for this. One that cannot be read
    is known by its own name alone.
    """
    from repsim.activations.store.unfinished import provenance_of

    return str(provenance_of(store).get("network", store.stem))


def stores_of(network: str, stores: Path) -> list[Path]:
    """The stores of a network in a folder; those of ``a`` are not those of ``a.b``."""
    if not re.fullmatch(r"\w[\w.-]*", network):  # a path, a glob, or nothing
        return []
    named = sorted(stores.glob(f"{network}.*h5"))
    return [path for path in named if path.stem == network or _network_of(path) == network]


def open_network(network: str, split: str, places: Places) -> tuple[ActivationStore, str]:
    """The store of a network that is no run, on a part of an image set, and a remark on it.

    Raises:
        StoreError: there is none, or it is of other images.
        UsageError: there are several, of different image sets.
    """
    from repsim.activations import ActivationStore
    from repsim.activations.store.reader import closed_by_errors
    from repsim.cli.examples import check_named

    found = {
        path: about
        for path, about in _records(network, places.stores).items()
        if _fits(path.stem == network, about, split, places)
    }
    if len(found) > 1:
        paths = " or ".join(map(str, found))
        raise UsageError(
            f"{network!r} has several stores; say {tell_apart(list(found.values()))}or the path: "
            f"{paths}"
        )
    if not found:
        there = ", ".join(str(path) for path in stores_of(network, places.stores))
        asked = [each for each in (places.data, places.image_size) if each]
        of = " ".join([*asked, split])
        raise StoreError(
            f"{network!r} has no activations of {of}; there are: {there}",
            f"say their --data and --split, or give a path{_more(network, split, places)}",
        )
    store = ActivationStore(next(iter(found)), name=network, target=places.target)
    with closed_by_errors(store):
        if places.data is None:
            if places.verify:
                raise _unknown_images(store.path)
            return store, ""
        verify = places.verify
        return store, check_named(store, places.data, split, places.data_dir, verify=verify)


def _more(network: str, split: str, places: Places) -> str:
    """The command that would harvest another part; empty for a network that was imported."""
    records = _records(network, places.stores).values()
    if not any("model" in each for each in records):
        return ""
    shown = "" if places.data is None else f" --data {shlex.quote(places.data)}"
    shown += f" --image-size {places.image_size}" if places.image_size else ""
    return f"; or make them: repsim harvest {network}{shown} --split {shlex.quote(split)}"


def _unknown_images(path: Path) -> UsageError:
    return UsageError(f"--verify compares {path.absolute()} with its images; say --data")


def _records(network: str, stores: Path) -> dict[Path, dict[str, Any]]:
    """The provenance of each store of a network."""
    from repsim.activations import ActivationStore

    found = {}
    for path in stores_of(network, stores):
        with ActivationStore(path) as store:
            found[path] = store.provenance()
    return found


def _fits(imported: bool, about: Mapping[str, Any], split: str, places: Places) -> bool:
    """True if a store is of a part of an image set; one that was imported whole is of any part."""
    if imported:
        return not contradicts(about, split, places, known=False)
    if "imported" in about:
        return not contradicts(about, split, places, known=False) and is_of(about, split)
    return shows(about, split, places)


# --- files


@contextmanager
def open_file(reference: str, target: str = "") -> Iterator[ActivationSource]:
    """A store, the stores of a glob as one in natural order, or a .npy file of one layer.

    Args:
        reference: path or glob.
        target: the one that gives the labels; empty for that of the store.

    Raises:
        StoreError: there is no such file.
        UsageError: there is no such target.
    """
    from repsim.activations import open_store

    if reference.endswith(".npy"):
        if target:
            raise UsageError(
                f"{reference} has no targets; leave out --target, or make a store with: "
                f"repsim import {shlex.quote(reference)} --labels FILE -o STORE.h5"
            )
        yield _open_npy(Path(reference))
        return
    with open_store(matching(reference), target=target) as store:
        yield store


def of_part(file: str, split: str) -> str:
    """The file itself; if it is of another part, the store of ``split`` beside it.

    Raises:
        StoreError: no store of the same network and data set beside it is of that part.
    """
    from repsim.activations.store.unfinished import provenance_of

    if not Path(file).is_file() or file.endswith(".npy"):
        return file
    about = provenance_of(Path(file))
    if "split" not in about or is_of(about, split):
        return file
    same = ("network", "weights_sha256", "data", "image_size")
    for path in sorted(Path(file).parent.glob("*.h5")):
        beside = provenance_of(path)
        if is_of(beside, split) and all(beside.get(key) == about.get(key) for key in same):
            return str(path)
    raise StoreError(
        f"{file} is of the part {about['split']}, and no store of {split} by the same network is "
        f"beside it; harvest that too, with --split {shlex.quote(split)}"
    )


def check_file(source: ActivationSource, file: str, split: str, places: Places) -> None:
    """Compare a store that is named by its path with an image set, where ``verify`` asks for it.

    Raises:
        UsageError: nothing says which images it shows, or it is no store of one file.
        StoreError: it was harvested from other images.
    """
    from repsim.activations import ActivationStore
    from repsim.cli.examples import check_named

    if not places.verify:
        return
    if not isinstance(source, ActivationStore):
        raise UsageError(f"--verify compares stores with their images, one by one; got {file!r}")
    if places.data is None:
        raise _unknown_images(source.path)
    check_named(source, places.data, split, places.data_dir, verify=True)


def note_mixed(source: ActivationSource) -> None:
    """Say so where the activations of a file are of mixed batch statistics."""
    from repsim.activations.harvesting.provenance import batch_statistics

    if batch_statistics(source.provenance()) == "mixed":
        say(
            f"note: {source.name} is of mixed batch statistics, those of real and generated images "
            "together; harvest its run again for its own"
        )


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
    from repsim.npy import open_npy
    from repsim.sources import ArraySource

    try:
        array = open_npy(path)
    except FileNotFoundError:
        raise StoreError(f"there is no file {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"{path} is not an array of numbers ({error})") from error
    return ArraySource({path.stem: array}, name=path.stem)
