"""Prints the losses of twenty steps in float64, for one process or those of torchrun.

Float64, since twenty steps of float32 tell rounding alone apart: where ReLUs and batch
normalisation meet flat images, a difference of 1e-7 becomes one of 1e-3, in one process too.

    python tests/steps.py METHOD...
"""

from __future__ import annotations

import json
import sys

import torch

from repsim.launch import is_leader
from repsim.networks.image_spec import ImageSpec
from repsim.training import parallel
from repsim.training.compose import configure
from repsim.training.loaders import feed, open_images
from repsim.training.methods import find_method
from repsim.training.trainer import Trainer

ON_PATCHES = ("relative_patch_location", "jigsaw")


def losses(method: str) -> list[float]:
    values = {"batch_size": 40, "split": "train[:40]", "epochs": 20, "device": "cpu"}
    # Networks of pretext tasks are of bottlenecks.
    size = {"depth": 14 if method in ("rotation", "exemplar") else 10, "width": 4}
    # Each process leaves out units of its own.
    patches = {"embedding": 20, "hidden": 30, "dropout": 0.0} if method in ON_PATCHES else {}
    config = configure(method, {**values, **size, **patches}, "test")
    config = config.model_copy(update={"precision": "64-true"})  # Fabric's, not for users
    torch.manual_seed(config.seed_for("initialisation"))
    built = find_method(method)(
        config, ImageSpec(channels=1, classes=10, height=32, width=32, flips=False)
    )
    fabric = parallel.start(config)
    source = feed(open_images("digits", config.split, None), fabric.device, 0)
    trainer = Trainer(built, fabric, len(source))
    return [
        trainer.epoch(epoch, source, lambda done, total, note: None)["loss"]
        for epoch in range(config.epochs)
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {method: losses(method) for method in sys.argv[1:]}
    if is_leader():
        print(json.dumps(found))
