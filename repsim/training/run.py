"""A run: the folder that training leaves, and what can be read back from it."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from repsim.batch_statistics import put
from repsim.errors import StoreError, UsageError, choices
from repsim.files import file_sha256, sha256, write_atomic
from repsim.networks.image_spec import ImageSpec
from repsim.networks.room import Room
from repsim.reading import DAMAGE, Damaged, damage, read_json, reason_of
from repsim.space import free_memory, in_words
from repsim.training import earlier
from repsim.training.compose import configure
from repsim.training.config import TrainConfig
from repsim.training.kept_sides import kept_or_made, made_once, measure_again
from repsim.training.method import Method
from repsim.training.methods import find_method
from repsim.training.sides import Choice, Side, Sides
from repsim.training.tensor_files import (
    load_tensors,
    look_into,
    named_nan,
    save_tensors,
    state_bytes,
)
from repsim.visible import shown

FORMAT = "repsim-run"
FORMAT_VERSION = 2
#: The first had one size for height and width, and methods that each had one kind of network.
READABLE_VERSIONS = (1, 2)

_CHECKPOINT, _STATE = "repsim-checkpoint", "repsim-state"

#: The usual remedy for a checkpoint that cannot be read.
_ANEW = "train the run anew with --overwrite"

#: Bytes of tensors that may be made with networks: a multiple of their checkpoint, and some more.
_FACTOR, _BESIDE = 16, 1 << 26

#: Entries that training and harvesting write into a run's folder; any other is its owner's.
CONTENTS = (
    "config.json",
    "checkpoint.pt",
    "statistics.pt",
    "resume.pt",
    "metrics.csv",
    "activations",
    "checkpoints",
    "samples",
    "tensorboard",
)


@dataclass(frozen=True)
class Run:
    """A folder with ``config.json``, and once training is over ``checkpoint.pt``.

    ``metrics.csv`` has a row an epoch, ``resume.pt`` the whole state after the last finished epoch
    of a run that is not over, ``activations/`` the stores harvested from it. ``checkpoints/`` has
    the networks after some epochs, ``samples/`` what generators made after each. ``statistics.pt``
    has the statistics of batch normalisation for each side of adversarial networks.
    """

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    def checkpoint_of(self, epoch: int) -> Path:
        """The file of the networks after ``epoch`` epochs, if they are kept."""
        return self.path / "checkpoints" / f"epoch-{epoch:04d}.pt"

    @property
    def epochs(self) -> list[int]:
        """The epochs after which the networks were kept, ascending; 0 is before training."""
        found = (re.fullmatch(r"epoch-(\d+)\.pt", path.name) for path in self._series())
        return sorted(int(match[1]) for match in found if match)

    def _series(self) -> list[Path]:
        folder = self.path / "checkpoints"
        return list(folder.iterdir()) if folder.is_dir() else []

    @property
    def resume_file(self) -> Path:
        return self.path / "resume.pt"

    @property
    def exists(self) -> bool:
        """True if training was ever started here."""
        return (self.path / "config.json").is_file()

    @property
    def is_run(self) -> bool:
        """True unless the folder has no ``config.json``, or one of another program.

        Models of transformers are saved with a file of that name. A damaged file is a run's, so
        that reading it says what is wrong.
        """
        try:
            content = read_json(self.path / "config.json")
        except (OSError, ValueError):
            return self.exists
        return isinstance(content, dict) and content.get("format") == FORMAT

    @property
    def complete(self) -> bool:
        """True if training is over."""
        return self.checkpoint.is_file()

    def describe(self) -> dict[str, Any]:
        """The content of ``config.json``, in today's terms whatever the version that wrote it.

        Raises:
            StoreError: absent, cut short or of another format.
        """
        content = self.written()
        with damage(self.path / "config.json"):
            return _checked(earlier.updated(content))

    def written(self) -> dict[str, Any]:
        """The content of ``config.json`` as the version that wrote it put it.

        Raises:
            StoreError: absent, cut short or of another format.
        """
        file = self.path / "config.json"
        try:
            content = read_json(file)
        except FileNotFoundError:
            raise StoreError(f"{self.path} is not a run: it has no config.json") from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{file} cannot be read: {error}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise StoreError(f"{file} does not describe a repsim run")
        if content.get("format_version") not in READABLE_VERSIONS:
            raise StoreError(
                f"{file} is of format version {shown(content.get('format_version'))}; this repsim "
                f"reads versions {' and '.join(map(str, READABLE_VERSIONS))}"
            )
        kinds = {"method": str, "config": dict, "facts": dict}
        for key, kind in kinds.items():
            if not isinstance(content.get(key), kind):
                raise StoreError(f"{file} is damaged: {key} is {shown(content.get(key))}")
        return content

    def write_description(
        self, method: str, config: TrainConfig, spec: ImageSpec, extra: Mapping[str, Any]
    ) -> None:
        """Write ``config.json``: enough to repeat the run."""
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "method": method,
            "config": config.model_dump(mode="json"),
            "facts": asdict(spec),
            **extra,
        }
        write_atomic(self.path / "config.json", json.dumps(content, indent=2) + "\n")

    @property
    def config(self) -> TrainConfig:
        """The configuration it was trained with."""
        content = self.describe()
        settings = earlier.with_network(content["method"], content["config"])
        return configure(content["method"], settings, str(self.path / "config.json"))

    @property
    def spec(self) -> ImageSpec:
        """The facts of the images it was trained on."""
        content = self.describe()
        with damage(self.path / "config.json"):
            return ImageSpec(**content["facts"])

    @property
    def patches(self) -> dict[str, Any]:
        """The record of the patches of which its extractors have the mean; empty if of none."""
        return self._kind.patches(self.config, self.spec)

    @property
    def _kind(self) -> type[Method]:
        return find_method(self.describe()["method"])

    def build(self) -> Method:
        """The method with its networks as training began with them, bit for bit.

        Of a version of torch that initialises as the run's own did. Torch's global random numbers
        are left as they were.
        """
        config, spec = self.config, self.spec
        with torch.random.fork_rng(devices=[]):  # networks are initialised on the CPU
            torch.default_generator.manual_seed(config.seed_for("initialisation"))
            with damage(self.path / "config.json"), Room(self._room()):
                method = self._kind(config, spec)
        self._check_held(method.networks.values())
        return method

    def _room(self) -> float:
        """Bytes that its networks may take while they are made: those in memory.

        With a checkpoint, some times as many as it has; more than it holds may be made and dropped.
        """
        free = free_memory()
        held = _FACTOR * self.checkpoint.stat().st_size + _BESIDE if self.complete else math.inf
        return held if free is None else min(free, held)

    def _check_held(self, networks: Iterable[nn.Module]) -> None:
        """Raise ``StoreError`` where the checkpoint has less than the networks.

        Runs of earlier versions kept only some of them.
        """
        if not self.complete or "extractors" in self.describe():
            return
        need, held = state_bytes(networks), self.checkpoint.stat().st_size
        if need > held:
            raise StoreError(
                f"{self.checkpoint} has {in_words(held)}, and config.json beside it describes "
                f"networks of {in_words(need)}",
                _ANEW,
            )

    def augmentation(self) -> nn.Module:
        """The random transform that it was trained under, of images (n, c, h, w) in [-1, 1].

        Raises:
            UsageError: its method trains on images as they are.
        """
        found = self.build().augment
        if found is None:
            raise UsageError(
                f"run {self.name!r} has no augmentation of its own: its method trains on images as "
                "they are; name one: simclr or supervised"
            )
        return found

    @property
    def extractors(self) -> tuple[str, ...]:
        """Names of the networks whose activations are of interest."""
        return tuple(self._networks)

    @property
    def _networks(self) -> dict[str, str]:
        """Names of extractors, here and in checkpoints, to the method's names of these networks.

        They differ in runs of earlier versions.
        """
        content = self.describe()
        names = find_method(content["method"]).extractors
        return content.get("extractors", {name: name for name in names})

    def extractor_name(self, name: str | None = None) -> str:
        """``name`` if the run has such an extractor; for None, its only one.

        Raises:
            UsageError: no such extractor, or several to choose from.
        """
        known = self.extractors
        if name is None:
            if len(known) > 1:
                options = " or ".join(f"{self.name}:{option}" for option in known)
                raise UsageError(f"run {self.name!r} has {len(known)} extractors; say {options}")
            return known[0]
        if name not in known:
            raise UsageError(f"run {self.name!r} has no extractor {name!r}; {choices(name, known)}")
        return name

    def extractor(
        self,
        name: str | None = None,
        epoch: int | None = None,
        *,
        statistics: Choice = "own",
        data_dir: str | os.PathLike[str] | None = None,
    ) -> Extractor:
        """The network ``name`` of the run, after training or after ``epoch`` epochs.

        Args:
            name: of an extractor; may be left out where there is one.
            epoch: of the series of checkpoints; by default what training ended with.
            statistics: of batch normalisation, for a network that training showed real and
                generated images apart: of the side that an image is of, of ``real`` or
                ``generated`` images whatever it is, or ``mixed``, the running ones.
            data_dir: where the image sets lie, should the statistics have to be made.

        Raises:
            UsageError: no such extractor, several to choose from, no checkpoint of that epoch, or
                statistics of sides that the run does not have.
        """
        if epoch is not None:
            self.checkpoint_at(epoch)
        if statistics != "own" and not self.has_sides:
            raise UsageError(
                f"run {self.name!r} has no statistics of {statistics} images to choose: its "
                f"method, {self.describe()['method']}, sees one kind of images; leave out "
                "statistics"
            )
        return Extractor(self, self.extractor_name(name), epoch, statistics, data_dir)

    def load_extractor(
        self,
        name: str | None = None,
        epoch: int | None = None,
        *,
        statistics: Side | Literal["mixed"] = "real",
        data_dir: str | os.PathLike[str] | None = None,
    ) -> nn.Module:
        """The trained network ``name``, in evaluation mode, on the CPU.

        Args:
            name: of an extractor; may be left out where there is one.
            epoch: of the series of checkpoints; by default what training ended with.
            statistics: of batch normalisation, for a network that training showed real and
                generated images apart: those of the images that it is to be shown, or ``mixed``.
                Other networks have one kind.
            data_dir: where the image sets lie, should the statistics have to be made.

        Raises:
            StoreError: training is not over, the checkpoint does not fit, or the images that its
                statistics have to be made from are not there.
            UsageError: no such extractor, or no checkpoint of that epoch.
        """
        name = self.extractor_name(name)
        network = self._networks[name]
        found = self._load({network: name}, epoch).extractor(network).eval()
        if statistics != "mixed" and self.has_sides:
            put(found, self.sides(epoch, data_dir)[network][statistics])
        return found

    def initial_extractor(
        self,
        name: str | None = None,
        epoch: int | None = None,
        *,
        statistics: Side | Literal["mixed"] = "real",
        data_dir: str | os.PathLike[str] | None = None,
    ) -> nn.Module:
        """The network ``name`` before training, in evaluation mode, on the CPU; see ``build``.

        The weights that a run without epochs has with the same settings and seed, and epoch 0 of a
        series. Its statistics of generated images are of those that the trained generators make,
        which a trained network is compared on.

        Args:
            name: of an extractor; may be left out where there is one.
            epoch: of the generators; by default the end of training.
            statistics: as of ``load_extractor``.
            data_dir: the same.

        Raises:
            UsageError: no such extractor, or several to choose from.
            StoreError: as of ``load_extractor``, but for ``mixed`` statistics, for which no
                checkpoint is read.
        """
        network = self._networks[self.extractor_name(name)]
        found = self.build().extractor(network).eval()
        if statistics != "mixed" and self.has_sides:
            put(found, self._initial_sides(epoch, data_dir)[network][statistics])
        return found

    @property
    def judge(self) -> str | None:
        """The network that tells real images from generated ones by one logit, or None."""
        return self._kind.judge

    # --- statistics of sides

    @property
    def has_sides(self) -> bool:
        """True if its extractors treat real and generated images each in their own way."""
        return self._kind.has_sides(self.config)

    def statistics_of(self, epoch: int | None = None) -> Path:
        """The file of the statistics of each side, after training or after ``epoch`` epochs."""
        file = self.checkpoint if epoch is None else self.checkpoint_of(epoch)
        return file.with_name("statistics.pt" if epoch is None else f"{file.stem}.statistics.pt")

    def sides(
        self, epoch: int | None = None, data_dir: str | os.PathLike[str] | None = None
    ) -> Sides:
        """Statistics of batch normalisation of its extractors for each side.

        Training leaves those of its end. Others are made from the recorded images and generators,
        once: they are kept beside the checkpoint, or in memory where nothing can be written.

        Args:
            epoch: of the series of checkpoints; by default the end of training.
            data_dir: where the image sets lie.

        Raises:
            StoreError: training is not over, or the images are not there.
        """
        return kept_or_made(
            self.statistics_of(epoch),
            self.digest(epoch),
            lambda: self._measured("trained", epoch, lambda: self.load_method(epoch), data_dir),
        )

    def _initial_sides(self, epoch: int | None, data_dir: str | os.PathLike[str] | None) -> Sides:
        """Statistics of the networks before training, for the images of the trained generators."""

        def make() -> Method:
            method, before = self.load_method(epoch), self.build()
            method.networks |= {name: before.networks[name].eval() for name in method.extractors}
            return method

        return self._measured("initial", epoch, make, data_dir)

    def _measured(
        self,
        kind: str,
        epoch: int | None,
        make: Callable[[], Method],
        data_dir: str | os.PathLike[str] | None,
    ) -> Sides:
        """Statistics of the networks that ``make`` gives, measured once in a process.

        A checkpoint alone does not tell them from others: before training, the runs of one seed
        have the same weights, whatever their images and settings.
        """

        def measure() -> Sides:
            trained_on = self.describe().get("trained_on", {})
            return measure_again(self.name, make(), trained_on, data_dir)

        return made_once((kind, self.digest(epoch), sha256(self.path / "config.json")), measure)

    def load_method(self, epoch: int | None = None) -> Method:
        """The method with all its networks as trained, in evaluation mode, on the CPU.

        Args:
            epoch: of the series of checkpoints; by default what training ended with.

        Raises:
            StoreError: training is not over, or the checkpoint does not fit.
            UsageError: no checkpoint of that epoch.
        """
        if "extractors" in self.describe():  # the other networks are as they were initialised
            return self._load({network: name for name, network in self._networks.items()}, epoch)
        return self._load(None, epoch)

    def _load(self, names: Mapping[str, str] | None, epoch: int | None) -> Method:
        """The method with networks out of a checkpoint: all, or some by their names there."""
        method = self.build()
        file = self.checkpoint if epoch is None else self.checkpoint_at(epoch)
        state = self.load_state(file)
        for name, stored in (names or {each: each for each in method.networks}).items():
            try:
                method.networks[name].load_state_dict(state["networks"][stored])
            except DAMAGE as error:
                raise StoreError(
                    f"{file} does not fit its config.json: {reason_of(error)}"
                ) from error
        for network in method.networks.values():
            network.eval()
        return method

    def checkpoint_at(self, epoch: int) -> Path:
        """The checkpoint of the series after ``epoch`` epochs.

        Raises:
            UsageError: it was not kept; those that were are listed.
        """
        file = self.checkpoint_of(epoch)
        if not file.is_file():
            kept = ", ".join(map(str, self.epochs))
            there = f"there is: {kept}" if kept else "it kept none; train it with --save-every"
            raise UsageError(f"run {self.name!r} has no checkpoint of epoch {epoch}; {there}")
        return file

    def load_state(self, file: Path) -> dict[str, Any]:
        """A file of tensors and plain values; never runs code from the file.

        Raises:
            StoreError: absent or unreadable, damaged, or with weights that are NaN or infinite.
        """
        try:
            state = load_tensors(file, (_CHECKPOINT, _STATE), _ANEW)
        except FileNotFoundError:
            raise self._unfinished() from None
        needed = {"networks", "epoch"} | ({"held_out"} if file == self.checkpoint else set())
        if needed - state.keys():
            raise StoreError(f"{file} is not a checkpoint", _ANEW)
        if weight := named_nan(state["networks"]):
            raise StoreError(f"{file} holds NaN or infinity in {weight}", _ANEW)
        return state

    def scores(self) -> dict[str, float]:
        """The scores on held-out images, none before training is over; the weights are not read.

        Raises:
            StoreError: the checkpoint is damaged.
        """
        if not self.complete:
            return {}
        return dict(look_into(self.checkpoint, (_CHECKPOINT,), _ANEW).get("held_out", {}))

    def _unfinished(self) -> StoreError:
        """The error about a checkpoint that training has not left yet."""
        kept = f", or take {self.name}@{self.epochs[-1]}" if self.epochs else ""
        return StoreError(f"run {self.name!r} is not finished", f"continue it with --resume{kept}")

    def metrics(self) -> list[dict[str, float]]:
        """The rows of ``metrics.csv``, one an epoch; none before the first has ended."""
        file = self.path / "metrics.csv"
        if not file.is_file():
            return []
        with damage(file), file.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
            return [
                {key: float(value) for key, value in row.items() if value != ""} for row in rows
            ]

    def last_metrics(self) -> dict[str, float]:
        """The losses and indicators of the last epoch."""
        rows = self.metrics()
        skipped = ("epoch", "images_per_second")
        return {key: value for key, value in rows[-1].items() if key not in skipped} if rows else {}

    def digest(self, epoch: int | None = None) -> str:
        """SHA-256 of the checkpoint, or of the checkpoint of an epoch.

        Raises:
            StoreError: training is not over.
            UsageError: no checkpoint of that epoch.
        """
        if epoch is None and not self.complete:
            raise self._unfinished()
        return file_sha256(self.checkpoint if epoch is None else self.checkpoint_at(epoch))

    @property
    def outdated_by(self) -> Run | None:
        """The run beside it that it began from, if that one has been trained again since.

        None as well where that run is gone: nothing contradicts what was taken from it.
        """
        begun = self.describe().get("begun_with", {})
        name, digest = begun.get("gan"), begun.get("checkpoint_sha256")
        if not isinstance(name, str):
            return None
        source = Run(self.path.parent / name)
        return source if source.complete and source.digest() != digest else None


@dataclass(frozen=True)
class Extractor:
    """A network of a run, as training ended with it or as it was after an epoch of the series.

    Attributes:
        run: the run that has it.
        name: among the extractors of the run.
        epoch: of the series of checkpoints, or None for the end of training.
        statistics: of batch normalisation, as of ``Run.extractor``.
        data_dir: where the image sets lie.
    """

    run: Run
    name: str
    epoch: int | None = None
    statistics: Choice = "own"
    data_dir: str | os.PathLike[str] | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """The name in a table or a figure: ``RUN[@EPOCH][:NAME]``.

        Other statistics than each image's own follow in brackets.
        """
        when = "" if self.epoch is None else f"@{self.epoch}"
        which = f":{self.name}" if len(self.run.extractors) > 1 else ""
        under = "" if self.statistics == "own" else f" ({self.statistics} statistics)"
        return f"{self.run.name}{when}{which}{under}"

    def statistics_for(self, shown: Side) -> Side | Literal["mixed"] | None:
        """The statistics of batch normalisation that images of a side are seen with.

        None of a network that has no sides.
        """
        if not self.run.has_sides:
            return None
        return shown if self.statistics == "own" else self.statistics

    @property
    def trained(self) -> bool:
        """True if it is another than before training."""
        return self.run.config.epochs > 0

    def load(self, shown: Side = "real") -> nn.Module:
        """The network for images of a side, in evaluation mode, on the CPU."""
        chosen = self.statistics_for(shown) or "mixed"
        return self.run.load_extractor(
            self.name, self.epoch, statistics=chosen, data_dir=self.data_dir
        )

    def untrained(self, shown: Side = "real") -> nn.Module:
        """The same network before training, in evaluation mode, on the CPU."""
        chosen = self.statistics_for(shown) or "mixed"
        return self.run.initial_extractor(
            self.name, self.epoch, statistics=chosen, data_dir=self.data_dir
        )

    def digest(self) -> str:
        """SHA-256 of its checkpoint."""
        return self.run.digest(self.epoch)


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    """A description whose parts have the types that everything else relies on.

    Raises:
        Damaged: one of them has not.
    """
    for key, value in content["facts"].items():
        if type(value) is not (bool if key == "flips" else int) or value < 0:
            raise Damaged(f"{key} is {shown(value)}; expected {_FACTS[key == 'flips']}")
    for key, kind in (("trained_on", dict), ("begun_with", dict), ("resumed", list)):
        if not isinstance(content.get(key, kind()), kind):
            raise Damaged(f"{key} is {shown(content[key])}")
    names = content.get("extractors", {})
    texts = isinstance(names, dict) and all(isinstance(each, str) for each in names.values())
    if not texts or (not names and "extractors" in content):
        raise Damaged(f"extractors are {shown(names)}; expected names of networks by name")
    return content


#: Facts of the images, in words.
_FACTS = ("an integer from 0", "true or false")


def checkpoint_state(
    method: str,
    epoch: int,
    networks: Mapping[str, Mapping[str, Tensor]],
    held_out: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The content of a checkpoint."""
    return {
        "method": method,
        "epoch": epoch,
        "networks": {name: dict(state) for name, state in networks.items()},
        "held_out": dict(held_out or {}),
    }


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write the content of a checkpoint; the same gives the same bytes."""
    save_tensors(path, _CHECKPOINT, content)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state that training goes on from."""
    save_tensors(path, _STATE, state)


def find_runs(folder: str | os.PathLike[str]) -> list[Run]:
    """All runs directly inside a folder, by name."""
    root = Path(folder)
    if not root.is_dir():
        return []
    return [run for run in (Run(path) for path in sorted(root.iterdir())) if run.is_run]
