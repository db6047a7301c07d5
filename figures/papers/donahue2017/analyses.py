"""The analyses of Donahue et al. (2017): which networks, on which images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from repsim.figures.papers.donahue2017.filters import Filters
from repsim.figures.papers.donahue2017.runs import (
    BIGAN,
    BIGAN_CONV,
    COMPLEX,
    GAN,
    GAN_CONV,
    METHODS,
    SCENES,
    SUPERVISED,
    SUPERVISED_CONV,
    UNTRAINED,
    UNTRAINED_CONV,
    UNTRAINED_D,
    UNTRAINED_D_CONV,
)
from repsim.figures.papers.donahue2017.sheets import Sheet
from repsim.figures.papers.donahue2017.strips import Strips
from repsim.figures.papers.engine import Run, analysis

Probe, Inversion, Transfer, Similarity, AveragePrecision = map(
    analysis, ("probe", "inversion", "transfer", "similarity", "average_precision")
)
Show, Look, Neighbours = analysis(Strips), analysis(Filters), analysis(Sheet)

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

Beside = dict[tuple[str, str], Any]


def _beside(
    pairs: Sequence[tuple[str, Run, str, Run, str]], layers: str, **settings: Any
) -> Beside:
    """CKA of pairs of networks, by what they are called; each pair ends with its own name."""
    return {
        (a, b): Similarity(
            run,
            other,
            on={"compared": "held_out"},
            layers_a=layers,
            layers_b=layers,
            name=name,
            **settings,
        )
        for a, run, b, other, name in pairs
    }


#: CKA of networks of digits: the encoder and the discriminator of the GAN, with each other and each
#: with a network by labels and with itself before training.
BESIDE = _beside(
    [
        ("E", BIGAN, "D", GAN, "cka-discriminator"),
        ("E", BIGAN, "supervised", SUPERVISED, "cka-supervised"),
        ("E", BIGAN, "E before training", UNTRAINED, "cka-untrained"),
        ("D", GAN, "supervised", SUPERVISED, "cka-discriminator-supervised"),
        ("D", GAN, "D before training", UNTRAINED_D, "cka-discriminator-untrained"),
    ],
    LAYERS,
    harvest={"layers": LAYERS},
)

#: Convolutions, and the features that stand on them.
CONVOLUTIONS = "conv*,features"

#: The same of networks of photographs.
BESIDE_CONV = _beside(
    [
        ("E", BIGAN_CONV, "D", GAN_CONV, "cka-discriminator-conv"),
        ("E", BIGAN_CONV, "supervised", SUPERVISED_CONV, "cka-supervised-conv"),
        ("E", BIGAN_CONV, "E before training", UNTRAINED_CONV, "cka-untrained-conv"),
        ("D", GAN_CONV, "supervised", SUPERVISED_CONV, "cka-discriminator-supervised-conv"),
        ("D", GAN_CONV, "D before training", UNTRAINED_D_CONV, "cka-discriminator-untrained-conv"),
    ],
    CONVOLUTIONS,
    augmentation="none",
)

#: Images with their nearest neighbours in feature space.
SHEETS = {
    run: Neighbours(run, on={"shown": "shown", "among": "probed"}, layers=layer, name="neighbours")
    for run, layer in (
        (BIGAN, LAYER),
        (UNTRAINED, LAYER),
        (BIGAN_CONV, "features"),
        (UNTRAINED_CONV, "features"),
    )
}

#: Frozen transfer of the convolutions, and linear probes on the features of photographs.
FROZEN = Transfer(
    BIGAN_CONV, on=_LEARNED, layers=CONVOLUTIONS, epochs=5, tiny={"epochs": 8, "batch_size": 25}
)
LINEAR = {
    name: Probe(run, on=_LEARNED, layers="features", harvest={"layers": "features"}, name="linear")
    for name, run in COMPLEX.items()
}

_ON_SCENES = {
    "train": "scenes",
    "validation": "choosing_scenes",
    "test": "held_out_scenes",
}


def _on_scenes(runs: dict[str, Run], layers: str) -> dict[str, Any]:
    """Several labels at once, of networks by what they are called."""
    return {
        name: AveragePrecision(
            run,
            on=_ON_SCENES,
            data=SCENES,
            layers=layers,
            epochs=5,
            tiny={"epochs": 1, "batch_size": 50},
            name="scenes",
        )
        for name, run in runs.items()
    }


#: Classification of scenes with several objects, as an analogue of PASCAL VOC: of networks of
#: digits, which have two hidden layers, and of networks of photographs.
SEVERAL = _on_scenes(
    {**METHODS, "untrained": UNTRAINED, "supervised": SUPERVISED},
    LAYERS,
)
SEVERAL_CONV = _on_scenes(
    {**COMPLEX, "untrained": UNTRAINED_CONV, "supervised": SUPERVISED_CONV}, "conv3,features"
)

ANALYSES = (
    *NEAREST.values(),
    *INVERSIONS.values(),
    *STRIPS.values(),
    *FILTERS.values(),
    *BESIDE.values(),
    *BESIDE_CONV.values(),
    *SHEETS.values(),
    FROZEN,
    *LINEAR.values(),
    *SEVERAL.values(),
    *SEVERAL_CONV.values(),
)
