"""The features that feed a linear head, straight from a network and images."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from repsim.activations.capture.batch_axis import BatchAxisLike
from repsim.activations.capture.functions import Allowed
from repsim.activations.capture.modules import unwrap
from repsim.activations.capture.returned import returned_head
from repsim.activations.harvesting.features import by_batch
from repsim.activations.harvesting.loaders import noisy
from repsim.ambient import full_precision, settled
from repsim.data.noise import Noise
from repsim.devices import find_device
from repsim.errors import CaptureError, NonFiniteError, UsageError
from repsim.networks.heads import HEADS, find_head, head_input, linear_layers
from repsim.progress import Progress, notebook_bar

if TYPE_CHECKING:
    from repsim.activations.harvesting.brought import Brought
    from repsim.training.run import Extractor, Run

#: Images of each generator made at once. What an image is made of depends on it: no option.
_ROUND = 64


class LinearHead(NamedTuple):
    """A head y = A f + b: A (out, d), b (out,) or None, both on the CPU, and the layer of f."""

    weight: Tensor
    bias: Tensor | None
    input: str


def linear_head(network: nn.Module, head: str | None = None) -> LinearHead:
    """The linear head of a network.

    Args:
        network: any module.
        head: the address of its head; by default ``head``, ``fc`` or ``classifier``.

    Raises:
        UsageError: the address is no linear layer, or none of these three is one.
    """
    network = unwrap(network)
    name, linear = head_of(network, head)
    bias = None if linear.bias is None else linear.bias.detach().cpu()
    return LinearHead(linear.weight.detach().cpu(), bias, head_input(network, name))


def head_of(
    network: nn.Module, named: str | None = None, images: Tensor | None = None
) -> tuple[str, nn.Linear]:
    """The address of the head of a network, and the head.

    Args:
        network: not wrapped.
        named: the address; by default ``head``, ``fc`` or ``classifier``.
        images: a few that the network is shown where it has none of these names: the head is the
            linear layer whose output it returns.

    Raises:
        UsageError: the network has no linear head by its name or these images; the linear layers
            that it has are listed.
    """
    found = find_head(network, named)
    if found is None and images is not None:
        found = find_head(network, returned_head(network, images))
    if found is None:
        raise _no_head(network)
    return found


def _no_head(network: nn.Module) -> UsageError:
    """The error about a network without a known head, with the candidates that it has."""
    head = getattr(network, "head", None)
    none = head is None or isinstance(head, nn.Identity)
    has = "no head" if none else f"a head of type {type(head).__name__}"
    linear = list(linear_layers(network))
    last = f"{'..., ' if len(linear) > 6 else ''}{', '.join(linear[-6:])}"
    remedy = (
        f"; of its linear layers {last} say which is the head, as in --head {linear[-1]} "
        f"(head={linear[-1]!r})"
        if linear
        else ""
    )
    return UsageError(
        f"{type(network).__name__} has {has}; the features of a linear head need one that is "
        f"nn.Linear and is called {' or '.join(HEADS)}, as those of the methods gan, wgan, "
        f"mgan and supervised are{remedy}"
    )


@full_precision()
def head_features(
    network: nn.Module,
    images: Any,
    *,
    head: str | None = None,
    noise: Noise | None = None,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    allow_random: bool = False,
    allow_batch: bool = False,
    allow_grad: bool = False,
    batch_axis: BatchAxisLike | None = None,
    progress: Progress = notebook_bar,
) -> Tensor:
    """The input of a linear head for each image, (n, d) float32 on the CPU.

    The network runs in evaluation mode and without gradients, a batch at a time; beyond a batch,
    memory holds the features alone, twice at the end.

    Args:
        network: one whose head is ``nn.Linear``.
        images: a loader, such as an ``ImageLoader``; or the images (n, c, h, w) themselves,
            floating point, as ``generated_images`` gives them.
        head: the address of the head; by default ``head``, ``fc`` or ``classifier``.
        noise: put on the images first, see ``NoisyLoader``; they must be in [-1, 1] then.
        seed: of the noise.
        batch_size: images at a time, where they come as a tensor.
        device: where to run; by default where the network lies.
        allow_random: take a network that is random; otherwise it is refused.
        allow_batch: take a network whose features depend on the batch of an image, or on batches
            before it; otherwise it is refused.
        allow_grad: let the network compute gradients in its forward.
        batch_axis: axis that holds the images, as for ``repsim.harvest``.
        progress: told the images done.

    Raises:
        UsageError: the network has no linear head, there are no images, or their order is unknown.
        CaptureError: the network does not run on the images, its head has no row for each, or it is
            no function of the image.
        NonFiniteError: NaN or infinity in the features.
    """
    network = unwrap(network)
    name, linear = head_of(network, head)
    blocks = by_batch(
        network,
        images,
        [f"{name}@input"],
        partial(_input_of_head, type(network).__name__, linear.weight.shape[1]),
        allowed=Allowed(allow_random, allow_batch, allow_grad),
        batch_axis=batch_axis,
        size=batch_size,
        change=iter if noise is None else partial(noisy, noise=noise, seed=seed),
        device=device,
        progress=progress,
    )
    return torch.cat(blocks)


def _input_of_head(network: str, features: int, layers: dict[str, Tensor], n: int) -> Tensor:
    """The one input of the head for n images, checked to be a row for each."""
    values = next(iter(layers.values()))
    if len(layers) > 1 or tuple(values.shape) != (n, features):
        raise CaptureError(
            f"the head of {network} is given {tuple(values.shape)} for {n} images, "
            f"{len(layers)} times; expected {(n, features)}, once"
        )
    if not bool(torch.isfinite(values).all()):
        raise NonFiniteError(
            f"the features of {network} have NaN or infinity; check the network and its input"
        )
    return values.float().cpu()


class Generated(NamedTuple):
    """Images that generators made.

    Attributes:
        images: (n, channels, size, size) float32 in [-1, 1], those of the first generator first.
        generator: (n,) int64, which generator made each.
    """

    images: Tensor
    generator: Tensor


def evenly_generated(
    extractor: Extractor | Brought, n: int, seed: int = 0, *, device: torch.device | str = "cpu"
) -> Generated | None:
    """At least ``n`` images of the generators of an extractor's run, as many of each as needed.

    The arguments and errors are as for ``generated_images``, at the epoch of the extractor.
    """
    if extractor.run is None:
        return None
    make = partial(generated_images, extractor.run, seed=seed, epoch=extractor.epoch, device=device)
    one = make(1)
    return None if one is None else make(-(-n // len(one.images)))


@settled()
def generated_images(
    run: Run,
    per_generator: int,
    seed: int = 0,
    *,
    epoch: int | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = notebook_bar,
) -> Generated | None:
    """Images by the generators of a trained run; None where its method has none.

    Args:
        run: a finished run, or one that kept ``epoch``.
        per_generator: images of each generator; the first of many are those of few.
        seed: of the noise that they are made of. Torch's global random numbers are left as they
            were.
        epoch: of the series of checkpoints; by default the end of training.
        device: where to make them; they come back to the CPU.
        progress: told the images of each generator done.

    Raises:
        UsageError: no images are asked for, a negative seed, no checkpoint of that epoch.
        StoreError: training is not over, or the checkpoint does not fit.
        NonFiniteError: NaN or infinity in the images.
    """
    if per_generator < 1:
        raise UsageError(f"per_generator is {per_generator}; expected at least 1")
    if seed < 0:
        raise UsageError(f"seed is {seed}; expected 0 or more")
    method = run.load_method(epoch)
    target = find_device(device)
    for network in method.networks.values():
        network.to(target)
    rounds: list[list[Tensor]] = []
    # Noise is drawn on the CPU whatever the device.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        for start in range(0, per_generator, _ROUND):
            samples = method.samples(_ROUND)
            if samples is None:
                return None
            parts = [samples] if isinstance(samples, Tensor) else list(samples.values())
            rounds.append([part.float().cpu() for part in parts])
            progress(min(start + _ROUND, per_generator), per_generator, "")
    by_generator = [torch.cat(parts)[:per_generator] for parts in zip(*rounds, strict=True)]
    if not all(bool(torch.isfinite(images).all()) for images in by_generator):
        raise NonFiniteError(
            f"generators of run {run.name!r} make images with NaN or infinity: its training "
            "diverged; train it anew with a lower lr"
        )
    index = torch.arange(len(by_generator)).repeat_interleave(per_generator)
    return Generated(torch.cat(by_generator), index)
