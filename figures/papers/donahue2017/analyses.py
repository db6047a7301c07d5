"""The analyses of Donahue et al. (2017): which networks, on which images."""

from repsim.figures.papers.donahue2017.filters import Filters
from repsim.figures.papers.donahue2017.runs import (
    BIGAN,
    BIGAN_CONV,
    COMPLEX,
    GAN,
    METHODS,
    UNTRAINED,
)
from repsim.figures.papers.donahue2017.strips import Strips
from repsim.figures.papers.engine import analysis

Probe, Inversion, Transfer, Similarity = map(
    analysis, ("probe", "inversion", "transfer", "similarity")
)
Show, Look = analysis(Strips), analysis(Filters)

_LEARNED = {"train": "probed", "test": "held_out"}

#: The second hidden layer, which the output is computed from, and both.
LAYER, LAYERS = "hidden2", "hidden1,hidden2"

#: Nearest neighbours of Table 1, and of the encoder before training.
NEAREST = {
    name: Probe(
        run, on=_LEARNED, layers=LAYER, solver="knn", harvest={"layers": LAYERS}, name="nearest"
    )
    for name, run in {**METHODS, "untrained": UNTRAINED}.items()
}

#: Reconstruction both ways of those that have an encoder and a generator, or a decoder.
INVERSIONS = {
    name: Inversion(run, on={"compared": "held_out"})
    for name, run in {**METHODS, "untrained": UNTRAINED}.items()
    if run is not GAN
}

#: Images, and what the BiGAN makes of them again.
STRIPS = {run: Show(run, on={"shown": "shown"}, name="strips") for run in (BIGAN, BIGAN_CONV)}

#: Weights of the same networks beside the images.
FILTERS = {run: Look(run, name="filters") for run in (BIGAN, BIGAN_CONV)}

#: CKA of the encoder with the discriminator of the GAN and with the encoder before training.
BESIDE = {
    beside: Similarity(
        BIGAN,
        run,
        on={"compared": "held_out"},
        layers_a=LAYERS,
        layers_b=LAYERS,
        harvest={"layers": LAYERS},
        name=f"cka-{called}",
    )
    for beside, run, called in (("D", GAN, "discriminator"), ("untrained", UNTRAINED, "untrained"))
}

#: Frozen transfer of the convolutions, and linear probes on the features of photographs.
CONVOLUTIONS = "conv*,features"
FROZEN = Transfer(
    BIGAN_CONV, on=_LEARNED, layers=CONVOLUTIONS, epochs=5, tiny={"epochs": 8, "batch_size": 25}
)
LINEAR = {
    name: Probe(run, on=_LEARNED, layers="features", harvest={"layers": "features"}, name="linear")
    for name, run in COMPLEX.items()
}

ANALYSES = (
    *NEAREST.values(),
    *INVERSIONS.values(),
    *STRIPS.values(),
    *FILTERS.values(),
    *BESIDE.values(),
    FROZEN,
    *LINEAR.values(),
)
