"""The networks of Grigg et al. (2021), and the images that they learn from."""

from repsim.figures.papers.engine import Run

#: Blocks in groups of 3, 4, 6 and 3, as in the paper's ResNet-50, at an eighth of its width.
_SMALL = {"depth": 34, "width": 8}

_SIMCLR = {**_SMALL, "batch_size": 128, "warmup_epochs": 1}

#: At scale long a million images: 25 epochs of the 40,000 that are not held out.
_LONG = {"epochs": 25}

SIMCLR = Run("simclr", small={**_SIMCLR, "epochs": 12}, long={**_SIMCLR, **_LONG})
SUPERVISED = Run("supervised", small={**_SMALL, "epochs": 10}, long={**_SMALL, **_LONG})
#: At scale tiny of supervised networks, whose residual network is initialised the same.
UNTRAINED = SIMCLR.untrained("untrained", tiny=SUPERVISED)

#: The runs, and their names in figures.
NAMES = {SIMCLR: "SimCLR", SUPERVISED: "supervised", UNTRAINED: "untrained"}
RUNS = tuple(NAMES)


def _splits(trained: str, probed: str, compared: str, held_out: str) -> dict[str, str]:
    return {"trained": trained, "probed": probed, "compared": compared, "held_out": held_out}


#: The parts that networks are trained on, probes learn from, layers are compared on, and probes are
#: judged on. Settings were chosen at scale small and serve long too, so that the test images of
#: CIFAR-10 are left for paper.
SPLITS = {
    ("tiny", "digits"): _splits("train[:200]", "train[:200]", "test[:100]", "test"),
    ("small", "cifar10"): _splits(
        "train[:20000]", "train[:10000]", "train[40000:44000]", "train[40000:]"
    ),
    ("small", "mnist"): _splits("train[:20000]", "train[:10000]", "test[:4000]", "test"),
    ("long", "cifar10"): _splits(
        "train[:40000]", "train[:10000]", "train[40000:44000]", "train[40000:]"
    ),
    ("paper", "cifar10"): _splits("train", "train", "test", "test"),
    ("paper", "mnist"): _splits("train", "train", "test", "test"),
}
