"""The analyses of Grigg et al. (2021): which networks, on which images."""

from repsim.figures.papers.engine import analysis
from repsim.figures.papers.grigg2021.published import IDENTIFIED
from repsim.figures.papers.grigg2021.runs import RUNS, SIMCLR, SUPERVISED

Similarity, Invariance, Classes, Probe, Identification = map(
    analysis, ("similarity", "invariance", "classes", "probe", "layer_identification")
)

#: CKA of all layers: of two networks of a method, and of two methods from one initialisation.
WITHIN_SIMCLR = Similarity(SIMCLR, SIMCLR, augmentation="none")
WITHIN_SUPERVISED = Similarity(SUPERVISED, SUPERVISED, augmentation="none")
ACROSS = Similarity(SIMCLR, SUPERVISED, augmentation="none")

#: The same on images under the augmentation of either method.
AUGMENTED = {
    run: Similarity(SIMCLR, SUPERVISED, augmentation="own", own=run, name=f"cka-as-{run.name}")
    for run in (SIMCLR, SUPERVISED)
}

#: CKA of two augmented copies of the images, CKA with the classes, and linear probes.
INVARIANCE = {run: Invariance(run, augmentation="own", own=SIMCLR) for run in RUNS}

#: CKA of two copies under the augmentation that a network was trained with.
TO_OWN = "invariance-to-own"
INVARIANCE_TO_OWN = {
    SIMCLR: INVARIANCE[SIMCLR],
    SUPERVISED: Invariance(SUPERVISED, augmentation="own", own=SUPERVISED, name=TO_OWN),
}

CLASSES = {run: Classes(run, augmentation="none") for run in RUNS}
PROBES = {
    run: Probe(run, layers="even,head", on={"train": "probed", "test": "held_out"}) for run in RUNS
}

#: The layers of a network that each measure recognises in another, in both directions.
IDENTIFICATION = Identification(
    SIMCLR, SIMCLR, layers="even", measure=tuple(IDENTIFIED), harvest={"pooling": "avg"}
)

ANALYSES = (
    WITHIN_SIMCLR,
    ACROSS,
    WITHIN_SUPERVISED,
    *AUGMENTED.values(),
    *INVARIANCE.values(),
    INVARIANCE_TO_OWN[SUPERVISED],
    *CLASSES.values(),
    *PROBES.values(),
    IDENTIFICATION,
)
