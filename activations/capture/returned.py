"""The linear layer whose output a network returns: its head, whatever it is called."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from repsim.activations.capture.arguments import run
from repsim.activations.capture.faults import running
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.tensors import tensors_in
from repsim.activations.capture.unchanged import Unchanged, same_random_numbers
from repsim.layers import Address
from repsim.networks.heads import linear_layers

#: A tensor by its memory, the number of its values, and the writes into it so far.
_Memory = tuple[int, int, int]


def returned_head(network: nn.Module, batch: Any, *, grad: bool = False) -> str | None:
    """The address of the one linear layer whose output a network returns.

    The output may come in another shape, or among others; a network that returns a function of it,
    such as its softmax, has no such layer. The network is left as it was.

    Args:
        network: not wrapped.
        batch: as for ``repsim.activations.capture.arguments.run``, where the network lies.
        grad: let the network compute gradients.

    Returns:
        None where there is none, or several.

    Raises:
        CaptureError: the network does not run on the batch.
    """
    linear = list(linear_layers(network))
    if not linear:
        return None
    # Outputs are held, so that no later one takes the memory of an earlier one.
    made: list[tuple[str, Tensor, _Memory]] = []

    def keep(layer: str, output: Tensor) -> None:
        made.append((layer, output, _memory(output)))

    with Unchanged(network) as kept, same_random_numbers(network):
        capture = Capture(network, linear, reduce=keep, grad=grad)
        with kept.watching(), capture, running(network, batch, grad=grad):
            returned = run(network, batch)
            ends = {_memory(each) for _, each in tensors_in(returned)}
    found = {layer for layer, _, memory in made if memory in ends}
    return Address.parse(found.pop(), capture.modules).module if len(found) == 1 else None


def _memory(tensor: Tensor) -> _Memory:
    return tensor.data_ptr(), tensor.numel(), tensor._version
