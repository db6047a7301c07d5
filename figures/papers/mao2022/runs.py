"""The networks of Mao et al. (2022), and the images that they learn from."""

from repsim.figures.papers.engine import Found, Run

#: Convolutions that discriminator and classifier no longer share, out of four, by image set.
REMOVED = {"digits": range(5), "mnist": range(5), "cifar10": range(3)}

#: The work of two cores in an hour: 100,000 images a run, in 5,000 small steps, half of the paper's
#: number. Claim 2c depends on its length.
_SMALL = {"epochs": 5, "width": 16, "batch_size": 20, "lr": 3e-4}

#: A night of two cores: the paper's 10,000 steps of 120 images, at its rate; only the networks are
#: narrower, by eight.
_LONG = {"epochs": 20, "width": 16, "batch_size": 120, "lr": 2e-4}

MGAN = {
    removed: Run(
        "mgan",
        f"mgan-removed-{removed}",
        only=[data for data, numbers in REMOVED.items() if removed in numbers],
        shared=4 - removed,
        small=_SMALL,
        long=_LONG,
    )
    for removed in range(5)
}
UNTRAINED = MGAN[0].untrained("untrained")
RUNS = (*MGAN.values(), UNTRAINED)

#: The two extractors, and their names in figures.
NAMES = {"discriminator": "D", "classifier": "C"}


def removed_in(found: Found) -> list[int]:
    """The numbers of convolutions removed, on the image set at hand."""
    return list(REMOVED[found.data])


def _splits(trained: str, probed: str, dissected: str, held_out: str) -> dict[str, str]:
    return {"trained": trained, "probed": probed, "dissected": dissected, "held_out": held_out}


#: The parts that networks are trained on, new heads and the probes of the null-space report learn
#: from, and everything is judged on. At small scale settings were chosen, so that the test images
#: of CIFAR-10 are left for paper.
SPLITS = {
    ("tiny", "digits"): _splits("train[:200]", "train[:200]", "train[:200]", "test"),
    ("small", "mnist"): _splits("train[:20000]", "train", "train[:10000]", "test"),
    ("small", "cifar10"): _splits(
        "train[:20000]", "train[:40000]", "train[:10000]", "train[40000:]"
    ),
    ("long", "mnist"): _splits("train", "train", "train[:10000]", "test"),
    ("paper", "mnist"): _splits("train", "train", "train", "test"),
    ("paper", "cifar10"): _splits("train", "train", "train", "test"),
}
