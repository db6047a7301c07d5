"""The analyses of Mao et al. (2022): which networks, on which images."""

from repsim.activations.analyses.nullspace import NOISES
from repsim.figures.papers.engine import analysis
from repsim.figures.papers.mao2022.runs import MGAN, NAMES, REMOVED, UNTRAINED
from repsim.figures.papers.mao2022.shift import SoftmaxShift

Probe, NullSpace = map(analysis, ("probe", "nullspace"))
Shift = analysis(SoftmaxShift)

#: Heads on frozen features: the paper's schedule, and logistic regression to convergence.
SOLVERS = {"sgd:mao2022": "SGD", "lbfgs": "L-BFGS"}

_HEADS = {
    "name": "heads",
    "solver": tuple(SOLVERS),
    "on": {"train": "probed", "test": "held_out"},
    "harvest": {"layers": "features"},
}

#: New heads on the features of each extractor, by its name and the number of convolutions removed.
HEADS = {
    (name, removed): Probe(run.network(name), **_HEADS)
    for removed, run in MGAN.items()
    for name in NAMES
}
CONTROLS = Probe(UNTRAINED.network("discriminator"), **_HEADS)

#: Reports of the extractors that share least, by number of convolutions removed and name.
LAST = {
    numbers[-1]: [data for data in REMOVED if REMOVED[data] == numbers]
    for numbers in REMOVED.values()
}
NULL_SPACES = {
    (name, removed): NullSpace(
        MGAN[removed].network(name),
        on={"train": "dissected", "test": "held_out"},
        layers=False,
        only=sets,
        tiny={"noise": NOISES[1::2]},
    )
    for removed, sets in LAST.items()
    for name in NAMES
}

#: Changes of the classifier's probabilities by shifts of its features.
SHIFTS = {
    removed: Shift(MGAN[removed].network("classifier"), on={"shown": "held_out"}, only=sets)
    for removed, sets in LAST.items()
}

ANALYSES = (*HEADS.values(), CONTROLS, *NULL_SPACES.values(), *SHIFTS.values())
