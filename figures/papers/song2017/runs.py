"""The networks of Song et al. (2017), and the images that they learn from."""

from __future__ import annotations

from typing import Any

from repsim.figures.papers.engine import Found, Run, grid
from repsim.figures.papers.song2017.published import PROBABILITIES

#: The clean, uncorrelated pairs of each scale, on which everything is judged.
TINY, SMALL, LONG = "two-digits:base=digits", "two-digits", "two-digits:pairs=40000"

#: Probabilities that a left digit is kept and that a label is copied, by image set.
GRID = {
    TINY: ((0.0, 0.9), (0.0, 0.5, 0.9)),
    SMALL: ((0.0, 0.3, 0.6, 0.9), (0.0, 0.3, 0.5, 0.7, 0.9)),
    LONG: (PROBABILITIES, PROBABILITIES),
}

_NETWORK: dict[str, Any] = {"network": "halves", "target": "left"}
_TINY = {"image_size": "8x16", "width": 2, "features": 8, "generator": 4}
_ADAM: dict[str, Any] = {
    "optimizer": "adam",
    "lr": 1e-3,
    "weight_decay": 0.0,
    "warmup_epochs": 0,
    "schedule": "constant",
    "augmentation": False,
    "batch_size": 64,
}


def _pairs(base: str, keep: float, copy: float) -> str:
    """The pairs of a scale, with labels and left digits drawn otherwise."""
    others = {"keep": keep, "copy": copy}
    parts = [base.partition(":")[2], *(f"{name}={value}" for name, value in others.items())]
    return f"two-digits:{','.join(filter(None, parts))}"


def _classifier(name: str, keep: float, copy: float, only: tuple[str, ...] = ()) -> Run:
    """A CNN that learns the label of the left digit."""

    def at(base: str, **settings: Any) -> dict[str, Any]:
        return {"data": _pairs(base, keep, copy), **settings}

    return Run(
        "supervised",
        name,
        only=only,
        tiny=at(TINY, **_TINY, epochs=3),
        small=at(SMALL, epochs=10),
        long=at(LONG, epochs=10),
        **_NETWORK,
        **_ADAM,
    )


def _cell(keep: float, copy: float) -> Run:
    """The CNN of a cell, trained on the image sets whose grid has it."""
    only = tuple(data for data, (keeps, copies) in GRID.items() if keep in keeps and copy in copies)
    return _classifier(f"cnn-keep-{keep}-copy-{copy}", keep, copy, only)


#: CNNs by the probabilities that a left digit is kept and that a label is copied.
CELLS = grid(_cell, keep=PROBABILITIES, copy=PROBABILITIES)

#: By accuracies on the split ``validation``, the autoencoder and the GAN have settled by then.
_LENGTH: dict[str, Any] = {"small": {"epochs": 10, "generator": 16}, "long": {"epochs": 10}}

#: Nothing here reads the classes that generators cover, and a classifier of them takes a minute.
_GAN: dict[str, Any] = {**_NETWORK, "coverage": 0, "tiny": {**_TINY, "sheet": 0}}

#: Extractors of clean, uncorrelated pairs, by their names in the paper's table.
EXTRACTORS = {
    "CNN": _classifier("cnn", 1.0, 0.0),
    "AE": Run(
        "autoencoder",
        "ae",
        **_NETWORK,
        code=160,
        tiny={**_TINY, "code": 16},
        **_LENGTH,
    ),
    "GAN": Run("gan", **_GAN, **_LENGTH),
    "WGAN": Run("wgan", **_GAN, **_LENGTH),
}

#: The same networks before training.
UNTRAINED = {name: run.untrained(f"{run.name}-untrained") for name, run in EXTRACTORS.items()}

#: A GAN after its first epoch, while its generator is surely behind.
EARLY = Run(
    "gan",
    "gan-early",
    **{**_GAN, "tiny": {**_GAN["tiny"], "epochs": 1}},
    small={"epochs": 1, "generator": 16},
    long={"epochs": 1},
)

#: The longest first, so that processes beside each other end together.
RUNS = (*EXTRACTORS.values(), EARLY, *UNTRAINED.values(), *CELLS.values())


def cells_of(found: Found) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The probabilities of keeping and of copying, on the image set at hand."""
    return GRID[found.data]


#: The parts that networks are trained on, new heads learn from, and heads are judged on.
SPLITS = {
    ("tiny", TINY): {"trained": "train[:300]", "probed": "train[:300]", "held_out": "test[:200]"},
    ("small", SMALL): {"trained": "train", "probed": "train", "held_out": "test"},
    ("long", LONG): {"trained": "train", "probed": "train", "held_out": "test[:10000]"},
}
