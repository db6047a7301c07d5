"""The networks of Kolesnikov et al. (2019), and the images that they learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from repsim.figures.papers.engine import SCALES, Run

#: Pretext tasks by their names in figures: methods of training.
TASKS = {
    "rotation": "rotation",
    "exemplar": "exemplar",
    "relative patch": "relative_patch_location",
    "jigsaw": "jigsaw",
}

#: Tasks whose networks see patches of an image.
OF_PATCHES = ("relative patch", "jigsaw")

_PLAIN: dict[str, Any] = {"last_relu": False}

#: Networks of Table 3 by their names there, and the one that rotation was proposed with: families,
#: with their settings at every width.
NETWORKS: dict[str, dict[str, Any]] = {
    "RevNet": {"network": "revnet"},
    "ResNet v2": {"network": "resnet_v2"},
    "VGG": {"network": "vgg"},
    "ResNet v1": {"network": "resnet"},
    "RevNet (-)": {"network": "revnet", **_PLAIN},
    "ResNet v2 (-)": {"network": "resnet_v2", **_PLAIN},
    "NIN": {"network": "nin"},
}

#: The six of Table 3.
SIX = tuple(name for name in NETWORKS if name != "NIN")

#: Channels of width 1, by family and scale: 16 k of residual networks and 8 k of VGG in the paper.
#: The NIN has one width.
_RESIDUAL = {"tiny": 4, "small": 16, "long": 16, "paper": 16}
_VGG = {"tiny": 2, "small": 8, "long": 8, "paper": 8}
_NIN = {"tiny": 12, "small": 96, "long": 96, "paper": 192}


@dataclass(frozen=True)
class Cell:
    """A cell of the grid.

    Attributes:
        task: of ``TASKS``.
        network: of ``NETWORKS``.
        width: the widening factor k.
        size: of the representation, by a linear layer; 0 for that of the network itself.
    """

    task: str
    network: str
    width: int = 1
    size: int = 0

    @property
    def name(self) -> str:
        """The name of its runs, such as ``rotation-revnet-k4``."""
        words = self.network.lower().replace("(-)", "minus").split()
        size = f"-size{self.size}" if self.size else ""
        return f"{TASKS[self.task]}-{'-'.join(words)}-k{self.width}{size}".replace("_", "-")


def _cells(
    tasks: Sequence[str],
    networks: Sequence[str],
    widths: Sequence[int],
    sizes: Sequence[int] = (0,),
) -> list[Cell]:
    return [Cell(*values) for values in product(tasks, networks, widths, sizes)]


_ROTATION, _OTHERS = ("rotation",), tuple(TASKS)[1:]
_THREE = ("RevNet", "ResNet v2", "VGG")
_FOUR = (*_THREE, "ResNet v1")

#: Widths and sizes of the representation of the cells of RevNet by rotation, by scale.
SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "tiny": ((1, 4), (16, 128)),
    "small": ((), ()),
    "long": ((1, 4), (512, 4096)),
    "paper": ((4, 8, 12, 16), (512, 1024, 2048, 4096, 8192)),
}


def _sized(scale: str) -> list[Cell]:
    return _cells(_ROTATION, ("RevNet",), *SIZES[scale])


#: The cells of each scale, those that decide a claim first.
LAID_OUT: dict[str, list[Cell]] = {
    "tiny": [
        *_cells(_ROTATION, SIX, (1,)),
        *_cells(_ROTATION, ("RevNet",), (2, 4)),
        *_sized("tiny"),
        *_cells(_ROTATION, ("NIN",), (1,)),
        *_cells(_OTHERS, SIX, (1,)),
    ],
    "small": _cells(_ROTATION, _THREE, (1,)),
    "long": [
        *_cells(_ROTATION, _THREE, (1,)),
        *_cells(_ROTATION, ("RevNet",), (2, 4)),
        *_sized("long"),
        *_cells(_ROTATION, ("NIN",), (1,)),
        *_cells(_ROTATION, ("ResNet v1",), (1,)),
        *_cells(_OTHERS, _FOUR, (1,)),
        *_cells(_ROTATION, ("ResNet v2", "VGG"), (2, 4)),
    ],
    "paper": [
        *_cells(_ROTATION, SIX, (4, 8, 12, 16)),
        *_sized("paper"),
        *_cells(_ROTATION, ("NIN",), (1,)),
        *_cells(_OTHERS, SIX, (4, 8, 12, 16)),
    ],
}


def _scales(cell: Cell) -> tuple[str, ...]:
    return tuple(scale for scale in SCALES if cell in LAID_OUT[scale])


#: The recipe of the code; the presets of rotation are of Gidaris et al. (2018), whose network is
#: the NIN.
_RECIPE: dict[str, Any] = {
    "schedule": "kolesnikov2019",
    "lr_scaling": "linear",
    "nesterov": False,
    "weight_decay": 1e-4,
}

#: Lengths and batches by scale.
_LENGTH: dict[str, dict[str, Any]] = {
    "tiny": {"epochs": 2, "batch_size": 50, "image_size": "12x12"},
    "small": {"epochs": 5, "batch_size": 64},
    "long": {"epochs": 10, "batch_size": 64},
    "paper": {"epochs": 35},
}

#: Batches of the paper's own size, where the preset is of another network.
_BATCH = {"rotation": {"batch_size": 256}}


def _network(cell: Cell, scale: str) -> dict[str, Any]:
    """The settings of the network of a cell."""
    own = NETWORKS[cell.network]
    family = own["network"]
    sized = {**own, "representation": cell.size} if cell.size else own
    if family == "nin":
        return {**sized, "width": _NIN[scale]}
    if family == "vgg":
        return {**sized, "width": cell.width * _VGG[scale]}
    strides = {"last_stride": 1 if cell.task in OF_PATCHES else 2}
    depth = 50 if scale == "paper" else 14
    return {**sized, "depth": depth, "width": cell.width * _RESIDUAL[scale], **strides}


def _at(cell: Cell, scale: str) -> dict[str, Any]:
    """The settings of a cell at a scale."""
    length = _LENGTH[scale]
    if cell.network == "NIN":
        own = {**length, "batch_size": 128} if scale == "long" else length
        return {**_network(cell, scale), **({} if scale == "paper" else own)}
    batch = _BATCH.get(TASKS[cell.task], {}) if scale == "paper" else {}
    return {**_network(cell, scale), **_RECIPE, **length, **batch}


def _run(cell: Cell) -> Run:
    scales = _scales(cell)
    settings: dict[str, Any] = {scale: _at(cell, scale) for scale in scales}
    return Run(TASKS[cell.task], cell.name, scales=scales, **settings)


#: Runs by cell, those of ``long`` in its order.
CELLS: dict[Cell, Run] = {
    cell: _run(cell) for scale in ("long", "paper", "small", "tiny") for cell in LAID_OUT[scale]
}

#: The cell whose network before training is the control of others, at the smallest width.
CONTROLLED = [cell for cell in CELLS if cell.task == "rotation" and not cell.size]

#: Networks of rotation before training, by cell.
UNTRAINED = {cell: CELLS[cell].untrained(f"untrained-{cell.name}") for cell in CONTROLLED}

RUNS = (*UNTRAINED.values(), *CELLS.values())


def _splits(trained: str, probed: str, held_out: str, compared: str) -> dict[str, str]:
    return {"trained": trained, "probed": probed, "held_out": held_out, "compared": compared}


#: The parts that networks are trained on, probes learn from, and everything is judged on, and some
#: of these that networks are compared on: below ``paper``, the last of CIFAR-10's training images.
SPLITS = {
    ("tiny", "digits"): _splits("train[:200]", "train[:200]", "test[:100]", "test[:100]"),
    ("tiny", "cifar10"): _splits("train[:200]", "train[:200]", "train[49900:]", "train[49900:]"),
    ("small", "cifar10"): _splits(
        "train[:5000]", "train[:5000]", "train[45000:]", "train[45000:47000]"
    ),
    ("long", "cifar10"): _splits(
        "train[:10000]", "train[:10000]", "train[45000:]", "train[45000:47000]"
    ),
    ("paper", "cifar10"): _splits("train", "train", "test", "test"),
}
