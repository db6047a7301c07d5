"""The networks of Donahue et al. (2017), and the images that they learn from."""

from __future__ import annotations

from typing import Any

from repsim.figures.papers.engine import Run

#: Image sets of the permutation-invariant networks, and of the convolutional ones.
FLAT, CONVOLVED = ("digits", "mnist"), ("digits", "cifar10")

#: Noise, optimiser and updates that all methods share.
_NOISE: dict[str, Any] = {"noise": "uniform", "lr": 2e-4, "beta1": 0.5}
_DECAY: dict[str, Any] = {"weight_decay": 2.5e-5, "schedule": "exponential"}
#: What a GAN needs to be trained like a BiGAN.
_AT_ONCE: dict[str, Any] = {**_NOISE, **_DECAY, "alternate": False}
#: Nothing here reads what generators show: a classifier of that takes most of a minute.
_QUIET: dict[str, Any] = {"sheet": 0, "coverage": 0}

#: Training by labels as the others are trained.
_BY_LABELS: dict[str, Any] = {
    "optimizer": "adam",
    "lr": 2e-4,
    "weight_decay": 2.5e-5,
    "warmup_epochs": 0,
    "augmentation": False,
}

_MLP: dict[str, Any] = {"only": FLAT, "network": "mlp", "image_size": "own", **_QUIET}
_TINY_MLP: dict[str, Any] = {"width": 32, "batch_size": 50}


def _flat(method: str, name: str | None = None, times: int = 1, **settings: Any) -> Run:
    """A run of the permutation-invariant networks; ``times`` epochs and images a step."""
    code = "code" if method == "autoencoder" else "latent"
    return Run(
        method,
        name,
        tiny={**_TINY_MLP, "batch_size": 50 * times, "epochs": 4 * times, code: 10},
        small={"width": 1024, "batch_size": 128 * times, "epochs": 5 * times, code: 50},
        long={"width": 1024, "batch_size": 128 * times, "epochs": 25 * times, code: 50},
        **_MLP,
        **settings,
    )


BIGAN = _flat("bigan", times=2, **_AT_ONCE)
GAN = _flat("gan", **_AT_ONCE)

#: The methods of Table 1, by their names there; D is the discriminator of the GAN that LR inverts.
METHODS = {
    "BiGAN": BIGAN,
    "D": GAN,
    "LR": _flat("latent_regressor", gan=GAN, **_NOISE, **_DECAY),
    "JLR": _flat("joint_latent_regressor", weight=0.25, **_AT_ONCE),
    "AE (l2)": _flat("autoencoder", "autoencoder-l2", loss="l2"),
    "AE (l1)": _flat("autoencoder", "autoencoder-l1", loss="l1"),
}
UNTRAINED = BIGAN.untrained("untrained")
UNTRAINED_D = GAN.untrained("untrained-discriminator")
#: The same network by labels, which the paper does not have.
SUPERVISED = Run(
    "supervised",
    tiny={"width": 32, "batch_size": 50, "epochs": 4},
    small={"width": 1024, "batch_size": 128, "epochs": 5},
    long={"width": 1024, "batch_size": 128, "epochs": 25},
    **_BY_LABELS,
    only=FLAT,
    network="mlp",
    image_size="own",
)

_CONV: dict[str, Any] = {"only": CONVOLVED, "network": "alexnet", **_QUIET}
_TINY_CONV: dict[str, Any] = {"image_size": "own", "width": 1, "beside": 4, "latent": 10}


def _convolved(method: str, name: str, times: int = 1, **settings: Any) -> Run:
    """A run of the convolutional networks, for photographs."""
    return Run(
        method,
        name,
        tiny={**_TINY_CONV, "batch_size": 50 * times, "epochs": 2 * times},
        small={"latent": 100, "batch_size": 128 * times, "epochs": 5 * times, "width": 8},
        long={"latent": 100, "batch_size": 128 * times, "epochs": 25 * times, "width": 8},
        **_CONV,
        **settings,
    )


BIGAN_CONV = _convolved("bigan", "bigan-conv", times=2, **_AT_ONCE)
GAN_CONV = _convolved("gan", "gan-conv", **_AT_ONCE)
LR_CONV = _convolved("latent_regressor", "latent_regressor-conv", gan=GAN_CONV, **_NOISE, **_DECAY)

UNTRAINED_CONV = BIGAN_CONV.untrained("untrained-conv")
UNTRAINED_D_CONV = GAN_CONV.untrained("untrained-discriminator-conv")
SUPERVISED_CONV = Run(
    "supervised",
    "supervised-conv",
    tiny={"image_size": "own", "width": 1, "batch_size": 50, "epochs": 2},
    small={"width": 8, "batch_size": 128, "epochs": 5},
    long={"width": 8, "batch_size": 128, "epochs": 25},
    **_BY_LABELS,
    only=CONVOLVED,
    network="alexnet",
)

#: The extractors of photographs that claim 3e compares.
COMPLEX = {"BiGAN": BIGAN_CONV, "LR": LR_CONV, "D": GAN_CONV}

RUNS = (
    *METHODS.values(),
    SUPERVISED,
    UNTRAINED,
    UNTRAINED_D,
    BIGAN_CONV,
    GAN_CONV,
    LR_CONV,
    SUPERVISED_CONV,
    UNTRAINED_CONV,
    UNTRAINED_D_CONV,
)


#: Scenes of several objects each, by the image set that their objects are of.
SCENES = {
    "digits": "scenes:base=digits,scenes=300",
    "mnist": "scenes",
    "cifar10": "scenes:base=cifar10",
}


def _splits(trained: str, probed: str, held_out: str, shown: str) -> dict[str, str]:
    own = {"trained": trained, "probed": probed, "held_out": held_out, "shown": shown}
    scenes = {"scenes": "train", "choosing_scenes": "validation", "held_out_scenes": "test"}
    return {**own, **scenes}


#: The parts that networks are trained on, classifiers learn from, and everything is judged on, and
#: the images that figures show; and the parts of the scenes.
SPLITS = {
    ("tiny", "digits"): _splits("train[:300]", "train[:300]", "test[:200]", "test[:8]"),
    ("small", "mnist"): _splits("train", "train", "test", "test[:12]"),
    ("small", "cifar10"): _splits(
        "train[:20000]", "train[:10000]", "train[40000:]", "train[40000:40012]"
    ),
    ("long", "mnist"): _splits("train", "train", "test", "test[:12]"),
    ("long", "cifar10"): _splits("train", "train", "test", "test[:12]"),
}
