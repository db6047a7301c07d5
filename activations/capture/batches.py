"""Batches of a loader, and the inputs of a network in them.

A batch is a tensor or array (n, ...); a tuple or list that begins with one, or with a dictionary,
followed by labels and ids; or a dictionary of tensors and arrays by the names of the network's
arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim.activations.capture.modules import unwrap
from repsim.data.targets import LABEL
from repsim.dense import as_dense
from repsim.errors import UsageError

#: Keys of a dictionary that are about the examples, and no input of the network.
ABOUT = frozenset({"label", "labels", "id", "ids"})

#: The name of an argument that is given by its place.
FIRST = ""


def run(model: nn.Module, batch: Any) -> Any:
    """Feed a network with a batch, and return what it returns.

    A tensor is its first argument. Of a tuple or list so is the first element. A dictionary gives
    the arguments of its keys; others, and labels and ids, are left out, but a single tensor under a
    name that the network does not know is the first argument too. Arrays become tensors where the
    network lies, of its floating-point type.

    Raises:
        UsageError: a batch of another kind, or a dictionary that does not fit.
    """
    given = arguments(model, batch)
    return model(given[FIRST]) if FIRST in given else model(**given)


def arguments(model: nn.Module, batch: Any) -> dict[str, Tensor]:
    """The tensors that ``run`` gives a network, by the names of its arguments.

    The first argument, where no name says so, is ``FIRST``. The errors are those of ``run``.
    """
    inputs = inputs_of(batch)
    if isinstance(inputs, Mapping):
        return _fitting(model, {key: _as_tensor(value, model) for key, value in inputs.items()})
    return {FIRST: _as_tensor(inputs, model)}


def inputs_of(batch: Any) -> Any:
    """The inputs of a network in a batch: a tensor, an array, or a dictionary of them.

    Raises:
        UsageError: there is none.
    """
    if isinstance(batch, (tuple, list)) and batch:
        if isinstance(batch[0], Tensor):
            as_dense(batch[0], "a batch")  # before it is asked for its shape
        _check_one_input(batch)
        return inputs_of(batch[0])
    if isinstance(batch, (Tensor, np.ndarray)):
        return as_dense(batch, "a batch")
    if isinstance(batch, Mapping):
        inputs = {
            key: as_dense(value, f"a batch, {key!r}")
            for key, value in batch.items()
            if key not in ABOUT and isinstance(value, (Tensor, np.ndarray))
        }
        if inputs:
            return inputs
        raise UsageError(
            f"a batch has no tensor beside labels and ids; it has {', '.join(map(str, batch))}"
        )
    raise UsageError(
        f"a batch gave {type(batch).__name__} as images; expected a tensor or array, a dictionary "
        "of them by the names of the network's arguments, or a tuple or list that begins with one"
    )


def _check_one_input(batch: Sequence[Any]) -> None:
    """Raise ``UsageError`` for a list of examples, or for several inputs: only one would be read.

    A tuple or list is (inputs, labels, ids), so what follows the inputs is no further input.
    """
    first, others = batch[0], batch[1:]
    if isinstance(first, (tuple, list)) and len(first) > 1:
        raise UsageError(
            f"a batch gave a {type(first).__name__} of {len(first)} as inputs, as a loader of "
            "several views does, or one with collate_fn=list; expected one tensor (n, ...): choose "
            "a view, or give several inputs as a dictionary by the names of the network's arguments"
        )
    if isinstance(first, Mapping) and any(
        isinstance(each, Mapping) and set(each) == set(first) for each in others
    ):
        raise UsageError(
            f"a batch gave {len(batch)} dictionaries of {', '.join(map(str, first))}, as a loader "
            "with collate_fn=list does; expected one dictionary of tensors (n, ...)"
        )
    if _are_examples(batch) or any(_is_further(first, each) for each in others):
        raise UsageError(
            f"a batch gave {len(batch)} arrays, the first {tuple(first.shape)}, as a loader of "
            "several views does, or one with collate_fn=list; expected one (n, ...), followed by "
            "labels and ids: choose a view, or give several inputs as a dictionary by the names of "
            "the network's arguments"
        )


def _are_examples(batch: Sequence[Any]) -> bool:
    """True for more arrays of one shape than inputs, labels and ids are."""
    arrays = [each for each in batch if isinstance(each, (Tensor, np.ndarray)) and each.ndim]
    return len(batch) > 3 and len(arrays) == len(batch) and len({a.shape for a in arrays}) == 1


def _is_further(first: Any, other: Any) -> bool:
    """True for values that can be no labels or ids of the first: of another length, or as large."""
    if not all(isinstance(each, (Tensor, np.ndarray)) and each.ndim for each in (first, other)):
        return False
    alike = first.ndim > 2 and first.shape == other.shape and first.dtype == other.dtype
    return len(first) != len(other) or alike


def batch_size(batch: Any) -> int:
    """The number of examples in a batch.

    Raises:
        UsageError: no batch, or one without a dimension of examples.
    """
    inputs = inputs_of(batch)
    values = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    for value in values:
        if value.ndim:
            return len(value)
    raise UsageError("a batch gave a single number; expected (n, ...)")


def head(batch: Any, k: int) -> Any:
    """The first ``k`` examples of a batch; labels and ids too. What has no n rows is left whole."""
    return pick(batch, range(min(k, batch_size(batch))))


def pick(batch: Any, places: Sequence[int]) -> Any:
    """The examples at some places of a batch, as ``head`` gives the first ones."""
    n, index = batch_size(batch), list(places)

    def cut(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: cut(each) for key, each in value.items()}
        if isinstance(value, (Tensor, np.ndarray)):
            return value[index] if value.ndim and len(value) == n else value
        if isinstance(value, (tuple, list)) and len(value) == n:
            return [value[k] for k in index]
        return value

    if isinstance(batch, (tuple, list)) and isinstance(batch[0], (tuple, list)):
        return [[cut(batch[0][0])], *map(cut, batch[1:])]
    return [cut(each) for each in batch] if isinstance(batch, (tuple, list)) else cut(batch)


def to_device(batch: Any, device: torch.device | str) -> Any:
    """The batch with the tensors that the network is fed with on ``device``.

    Labels and ids stay where they are; arrays become tensors only when they are fed.
    """
    if isinstance(batch, (tuple, list)) and batch:
        return [to_device(batch[0], device), *batch[1:]]
    if isinstance(batch, Mapping):
        return {
            key: value if key in ABOUT else to_device(value, device) for key, value in batch.items()
        }
    return as_dense(batch, "a batch").to(device) if isinstance(batch, Tensor) else batch


def as_type(batch: Any, kind: torch.dtype) -> Any:
    """The batch with the floating-point tensors that the network is fed with in another type."""
    if isinstance(batch, (tuple, list)) and batch:
        return [as_type(batch[0], kind), *batch[1:]]
    if isinstance(batch, Mapping):
        return {
            key: value if key in ABOUT else as_type(value, kind) for key, value in batch.items()
        }
    return batch.to(kind) if isinstance(batch, Tensor) and batch.is_floating_point() else batch


def _fitting(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inputs that the forward of a network takes."""
    signature = inspect.signature(unwrap(model).forward)
    parameters = signature.parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        fitting = dict(inputs)
    else:
        named = {e.name for e in parameters if e.kind in (e.POSITIONAL_OR_KEYWORD, e.KEYWORD_ONLY)}
        fitting = {key: value for key, value in inputs.items() if key in named}
        if not fitting and len(inputs) == 1:
            return {FIRST: next(iter(inputs.values()))}
    try:
        signature.bind(**fitting)
    except TypeError as error:
        raise UsageError(
            f"a batch of {', '.join(map(str, inputs))} does not fit forward{signature}: {error}"
        ) from None
    return fitting


def _as_tensor(value: Tensor | np.ndarray, model: nn.Module) -> Tensor:
    """An array as a tensor that suits the network; a tensor as it is."""
    if isinstance(value, Tensor):
        return value
    try:
        # Torch has no read-only tensors, and none with negative strides.
        tensor = torch.from_numpy(np.require(value, requirements=["C", "W"]))
    except TypeError:
        raise UsageError(
            f"a batch has an array of {value.dtype}; expected one that torch has, such as float32"
        ) from None
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return tensor.to(like.device, like.dtype if tensor.is_floating_point() else None)


def targets_of(batch: Any) -> dict[str, np.ndarray]:
    """The targets that come with a batch, by name.

    Classes are int64 (n,), rows of zeros and ones uint8 (n, k). Labels without a name are the
    target ``label``; several targets come as a dictionary in place of labels.

    Raises:
        UsageError: they are neither classes from 0, nor zeros and ones, one each.
    """
    given = _beside(batch, 1, ("labels", "label"))
    if given is None:
        return {}
    named = given if isinstance(given, Mapping) else {LABEL: given}
    return {str(name): _target(values, batch_size(batch)) for name, values in named.items()}


def _target(given: Any, n: int) -> np.ndarray:
    values = np.asarray(as_dense(given, "labels of a batch"))
    if values.dtype.kind not in "iub" or values.shape[:1] != (n,) or values.ndim > 2:
        raise UsageError(
            f"a batch of {n} examples came with labels of {values.dtype}, shape "
            f"{values.shape}; expected a whole number each, or zeros and ones (n, k): batches are "
            "(inputs, labels, ids)"
        )
    if values.ndim == 2:
        if not np.isin(values, (0, 1)).all():
            raise UsageError(
                f"a batch came with labels of shape {values.shape} that are not zeros and ones"
            )
        return values.astype(np.uint8)
    for label in (values.min(), values.max()) if values.size else ():
        if not 0 <= label < 1 << 63:
            raise UsageError(
                f"a batch came with label {label}; expected classes from 0, below 2^63"
            )
    return values.astype(np.int64)


def ids_of(batch: Any) -> list[str] | None:
    """The names of the examples of a batch, or None.

    Raises:
        UsageError: not one each.
    """
    given = _beside(batch, 2, ("ids", "id"))
    if given is None:
        return None
    ids = [each.decode() if isinstance(each, bytes) else str(each) for each in _listed(given)]
    if len(ids) != batch_size(batch):
        raise UsageError(f"a batch of {batch_size(batch)} examples came with {len(ids)} ids")
    return ids


def mask_of(batch: Any) -> Tensor | None:
    """(n, tokens), 0 where a token is padding, of a batch with an ``attention_mask``."""
    inputs = inputs_of(batch)
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    return None if mask is None else torch.as_tensor(mask)


def _beside(batch: Any, place: int, keys: tuple[str, ...]) -> Any:
    """An entry of a batch about its examples, in its place or under one of its keys."""
    if isinstance(batch, (tuple, list)):
        if len(batch) > place:
            return batch[place]
        batch = batch[0] if batch else None
    if isinstance(batch, Mapping):
        return next((batch[key] for key in keys if key in batch), None)
    return None


def _listed(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, (Tensor, np.ndarray)) else list(values)
