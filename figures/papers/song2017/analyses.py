"""The analyses of Song et al. (2017): which networks, on which images."""

from itertools import product

from repsim.figures.papers.engine import analysis
from repsim.figures.papers.song2017.evaluation import Evaluation
from repsim.figures.papers.song2017.readings import Readings
from repsim.figures.papers.song2017.runs import CELLS, EARLY, EXTRACTORS, UNTRAINED

Evaluate = analysis(Evaluation)
ReadByCritic = analysis(Readings)
Similarity, Signal = map(analysis, ("similarity", "signal"))

#: Heads: the text's kind, trained by SGD for some epochs, and logistic regression to convergence.
SOLVERS = {"SGD": "sgd:song2017", "L-BFGS": "lbfgs"}

#: Layers that a head reads, by their names in figures.
INPUTS = {"both halves": "features", "right half": "right"}

_ON = {"train": "probed", "test": "held_out"}

#: New heads for the right label: of every cell of the grid, of the extractors, and untrained.
GRID = {cell: Evaluate(run, on=_ON) for cell, run in CELLS.items()}
HEADS = {name: Evaluate(run, on=_ON) for name, run in EXTRACTORS.items()}
CONTROLS = {name: Evaluate(run, on=_ON) for name, run in UNTRAINED.items()}

#: CKA of the halves before and after training.
CHANGES = {
    name: Similarity(
        run,
        UNTRAINED[name],
        on={"compared": "held_out"},
        layers_a="left,right",
        layers_b="left,right",
        augmentation="none",
        name="cka-halves",
    )
    for name, run in EXTRACTORS.items()
}

#: Bits about real and generated images: of the right half alone, and given the left half.
_PLAYERS = {"GAN, 1 epoch": EARLY, "GAN": EXTRACTORS["GAN"], "WGAN": EXTRACTORS["WGAN"]}
PLAYERS, GIVEN = tuple(_PLAYERS), ("none", "left")

#: Bits that probes find in all features, and in the two numbers that the critic makes of them.
_READERS = {"probes": ("signal", Signal), "the critic": ("readings", ReadByCritic)}
READERS = tuple(_READERS)

SIGNALS = {
    (name, given, by): measure(
        _PLAYERS[name], on=_ON, of="generated", given=given, name=f"{stem}-given-{given}"
    )
    for by, (stem, measure) in _READERS.items()
    for name, given in product(PLAYERS, GIVEN)
}

ANALYSES = (
    *GRID.values(),
    *HEADS.values(),
    *CONTROLS.values(),
    *CHANGES.values(),
    *SIGNALS.values(),
)
