"""The inverse of reversible networks, measured on images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from repsim.activations.analyses.base import Analysis, Context, Inputs, Part
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.ambient import full_precision
from repsim.configuration import Config
from repsim.devices import find_device
from repsim.networks.reversible import ReversibleGroup
from repsim.results import Table

#: Images at a time.
_BATCH = 64


class Inverse(Analysis[Config]):
    """The relative error of the input of each reversible group, computed from its output.

    The norm of the difference over the norm of the input, of a batch; the largest of all batches.
    """

    config_class = Config
    parts: ClassVar[Mapping[str, Part]] = {"inverted": Part("test", "images to show")}
    result = Table

    def compute(self, inputs: Inputs, context: Context) -> Table:
        (extractor,) = inputs.extractors
        device = find_device(context.device)
        network = extractor.load().to(device).eval()
        errors: dict[str, float] = {}
        for images, _, _ in ImageLoader(inputs.images["inverted"], _BATCH):
            for name, error in inverse_errors(network, images.to(device)).items():
                errors[name] = max(error, errors.get(name, 0.0))
        return Table.of("inverse", [{"group": k, "error": v} for k, v in errors.items()])


@full_precision()
@torch.no_grad()
def inverse_errors(network: nn.Module, images: Tensor) -> dict[str, float]:
    """The relative error of the inverse of every reversible group, by its address."""
    errors: dict[str, float] = {}
    hooks: list[RemovableHandle] = []
    for name, group in network.named_modules():
        if isinstance(group, ReversibleGroup):

            def measure(
                module: ReversibleGroup, given: tuple[Tensor], found: Tensor, name: str = name
            ) -> None:
                (x,) = given
                errors[name] = float((module.inverse(found) - x).norm() / x.norm())

            hooks.append(group.register_forward_hook(measure))
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return errors
