"""Frozen transfer: the first layers of a network stay, the others are trained anew on labels.

Donahue et al. (2017), Table 2. Which parts of a network belong to its first layers is seen from a
forward pass: all that ran before the output of the last frozen layer was there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsim.data import ImageSet, to_input
from repsim.errors import UsageError
from repsim.networks.heads import find_head
from repsim.training.schedules import constant_exponential

if TYPE_CHECKING:
    from jaxtyping import Integer

#: Images shown together where nothing is trained.
_TOGETHER = 500


@dataclass(frozen=True)
class Recipe:
    """The training of the layers that are not frozen, by Adam.

    Attributes:
        epochs: passes over the images.
        lr: learning rate; constant for half of the steps, then falling to a hundredth.
        batch_size: images a step.
        seed: of the new head and of the order of the images.
    """

    epochs: int = 10
    lr: float = 1e-3
    batch_size: int = 128
    seed: int = 0


def with_new_head(network: nn.Module, classes: int, seed: int = 0) -> nn.Module:
    """A copy of a network with a new linear head in place of its own.

    Raises:
        UsageError: it has no place for one.
    """
    twin, found = copy.deepcopy(network), find_head(network)
    features = getattr(network, "feature_dim", None)
    if isinstance(features, int) and hasattr(network, "head"):
        name = "head"
    elif found is not None:
        name, features = found[0], found[1].in_features
    else:
        raise UsageError(
            f"{type(network).__name__} has no linear head to put a new one for; expected one "
            "called head, fc or classifier"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        setattr(twin, name, nn.Linear(features, classes))
    return twin


@dataclass(frozen=True)
class FirstLayers:
    """The part of a network that its output of a layer depends on.

    Attributes:
        modules: addresses of those modules that have no children, or parameters or buffers of
            their own.
        features: values of the layer for an image.
    """

    modules: tuple[str, ...]
    features: int


def first_layers(network: nn.Module, layer: str, x: Tensor) -> FirstLayers:
    """All that computes something on images ``x`` before the output of a layer is there.

    Raises:
        UsageError: the layer does not run.
    """
    names: list[str] = []
    done: list[int] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not done and name not in names:
                names.append(name)

        return hook

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        done.append(output[0].numel())

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in network.named_modules()
        if _computes(module)
    ]
    hooks.append(network.get_submodule(layer).register_forward_hook(end))
    try:
        with torch.no_grad():
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    if not done:
        raise UsageError(f"layer {layer!r} does not run in a forward pass; nothing to freeze")
    return FirstLayers(tuple(names), done[0])


def _computes(module: nn.Module) -> bool:
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return bool(own) or not list(module.children())


@dataclass
class Frozen:
    """A network whose first parts stay as they are.

    Attributes:
        network: its other parts as they are to be trained from.
        parts: addresses of the frozen parts.
    """

    network: nn.Module
    parts: tuple[str, ...] = ()

    @classmethod
    def of(cls, start: nn.Module, given: nn.Module, parts: Sequence[str]) -> Frozen:
        """The network ``start``, frozen parts of which are those of another one of its kind."""
        network = copy.deepcopy(start)
        for name in parts:
            source = given.get_submodule(name)
            network.get_submodule(name).load_state_dict(source.state_dict())
        for name in parts:
            network.get_submodule(name).requires_grad_(False)
        return cls(network, tuple(parts))

    def train(self) -> None:
        """Training mode, but for the frozen parts, which normalise by their statistics."""
        self.network.train()
        for name in self.parts:
            self.network.get_submodule(name).eval()

    def trained(self) -> Iterator[nn.Parameter]:
        """The parameters that are trained."""
        return (p for p in self.network.parameters() if p.requires_grad)


def fit_rest(
    frozen: Frozen,
    images: ImageSet,
    labels: Integer[Tensor, "n ..."],
    recipe: Recipe,
    device: Any = "cpu",
    *,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> None:
    """Train the parts that are not frozen, by cross-entropy, in place.

    Args:
        frozen: the network.
        images: to learn from.
        labels: a class an image, or a row of zeros and ones, whose columns are told apart each.
        recipe: how.
        device: where to compute.
        after_epoch: called with the epochs done; the network may be in evaluation mode after it.
    """
    network = frozen.network.to(device)
    n, size = len(labels), min(recipe.batch_size, len(labels))
    steps = recipe.epochs * (n // size)
    optimizer = torch.optim.Adam(list(frozen.trained()), recipe.lr)
    random, step = torch.Generator().manual_seed(recipe.seed), 0
    for epoch in range(recipe.epochs):
        frozen.train()
        order = torch.randperm(n, generator=random)
        for rows in order[: n // size * size].view(-1, size):
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * constant_exponential(step, steps)
            optimizer.zero_grad()
            x = to_input(images.images[rows]).to(device)
            _loss(network(x), labels[rows].to(device)).backward()
            optimizer.step()
            step += 1
        after_epoch(epoch + 1)


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of a batch: of its classes, or of all zeros and ones."""
    if labels.ndim == 1:
        return F.cross_entropy(logits, labels)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


@torch.no_grad()
def logits_of(network: nn.Module, images: ImageSet, device: Any = "cpu") -> Tensor:
    """Logits (n, k) of all images, in evaluation mode, on the CPU."""
    network.eval()
    parts = torch.arange(len(images)).split(_TOGETHER)
    return torch.cat([network(to_input(images.images[rows]).to(device)).cpu() for rows in parts])


def accuracy_of(network: nn.Module, images: ImageSet, labels: Tensor, device: Any = "cpu") -> float:
    """Share of images that a network puts into their class."""
    right = int((logits_of(network, images, device).argmax(1) == labels).sum())
    return right / len(labels)
