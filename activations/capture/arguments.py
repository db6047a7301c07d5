"""Entries of a batch that become arguments of a network, and those that do not."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim.activations.capture.batches import ABOUT, LABELS, inputs_of, own, warn_of_further
from repsim.activations.capture.masks import kind_of
from repsim.activations.capture.modules import check_unscripted, unwrap
from repsim.dense import as_dense, is_sparse
from repsim.errors import RepsimWarning, UsageError

#: Names of arguments that networks are given labels as.
_CONDITIONS = frozenset({"c", "cond", "condition", "context", "y"})

#: The name of an argument that is given by its place.
FIRST = ""


def run(model: nn.Module, batch: Any) -> Any:
    """Feed a network with a batch, and return what it returns.

    A tensor is its first argument. Of a tuple or list so is the first element. A dictionary gives
    the arguments of its keys, whatever their values are: numbers, flags, None, texts, and labels
    where the network asks for them by that name. A single tensor under a name that the network
    does not know is the first argument too. Arrays become tensors where the network lies, of its
    floating-point type. All are copies, which the network may change.

    Raises:
        UsageError: a batch of another kind, or a dictionary that does not fit.
    """
    given = own({**without_cache(model), **arguments(model, batch)})
    first = [given.pop(FIRST)] if FIRST in given else []
    return model(*first, **given)


def without_cache(model: nn.Module) -> dict[str, bool]:
    """The argument that keeps a language model from holding keys and values of every block.

    By the convention of transformers: ``config.use_cache``, and a forward with that argument.
    """
    network = unwrap(model)
    caches = getattr(getattr(network, "config", None), "use_cache", None) is True
    named = caches and "use_cache" in _named(_signature(network))
    return {"use_cache": False} if named else {}


def arguments(model: nn.Module, batch: Any) -> dict[str, Any]:
    """The values that ``run`` gives a network, by the names of its arguments.

    The first argument, where no name says so, is ``FIRST``. The errors are those of ``run``.
    """
    entries = _entries(batch)
    if entries is None:
        return {FIRST: _as_tensor(inputs_of(batch), model)}
    given = _fitting(model, entries)
    return {name: _as_argument(value, name, model) for name, value in given.items()}


def named_entries(model: nn.Module, batch: Any) -> dict[str, Any]:
    """The entries of a batch by name; inputs without one are called as the argument."""
    entries = _entries(batch)
    if entries is None:
        return {_first_name(model): inputs_of(batch)}
    given = _fitting(unwrap(model), entries)
    return {**entries, **({_first_name(model): given[FIRST]} if FIRST in given else {})}


def warn_of_unused(model: nn.Module, batch: Any, used: Collection[str] = ()) -> None:
    """Warn of the entries of a batch that the network is not given.

    Args:
        model: the network.
        batch: the first that it is to see.
        used: names of entries that serve another end.

    Warns:
        RepsimWarning: of entries that forward does not take. Labels and ids are about the rows. Of
            entries of a tuple or list beyond those, too.
    """
    warn_of_further(batch)
    entries = _entries(batch)
    if entries is None:
        _warn_of_inputs_behind(model, batch)
        return
    given = arguments(model, batch)
    unused = [name for name in entries if name not in {*given, *ABOUT, *used}]
    if FIRST in given:
        unused = [name for name in unused if not _is_array(entries[name])]
    if unused:
        warnings.warn(
            f"{type(unwrap(model)).__name__} does not take {', '.join(map(repr, unused))}: left "
            "out of its arguments",
            RepsimWarning,
            stacklevel=2,
        )


def _warn_of_inputs_behind(model: nn.Module, batch: Any) -> None:
    """Warn of what comes behind the inputs where it may be the next argument of the network."""
    if not (isinstance(batch, (tuple, list)) and len(batch) > 1 and _is_array(batch[1])):
        return
    names = sorted(_named(_signature(model)))
    asked = [name for name in names if name in _CONDITIONS or kind_of(name) == "lengths"]
    if asked:
        warnings.warn(
            f"what comes behind the inputs of a batch is taken for labels, and forward has "
            f"{', '.join(map(repr, asked))}: give inputs in a dictionary by the names of its "
            "arguments",
            RepsimWarning,
            stacklevel=3,
        )


def warn_of_new(model: nn.Module, batch: Any, seen: set[str]) -> None:
    """Warn of the entries that a later batch has, and that the network is not given.

    Args:
        model: the network.
        batch: the next that it is to see.
        seen: names of the entries of the batches before; those of this one are added.

    Warns:
        RepsimWarning: as from ``warn_of_unused``.
    """
    names = {str(name) for name in _entries(batch) or ()}
    if seen and not names <= seen:
        warn_of_unused(model, batch, seen)
    seen.update(names)


def unnamed(model: nn.Module, names: Collection[str]) -> tuple[str, ...]:
    """Names of entries of a batch that no argument of a network has."""
    named = _named(_signature(model))
    return tuple(name for name in names if name not in named)


def label_arguments(model: nn.Module) -> list[str]:
    """Names of labels that the forward of a network has as an argument."""
    named = _named(_signature(model))
    return [name for name in LABELS if name in named]


def _entries(batch: Any) -> Mapping[Any, Any] | None:
    """The dictionary of a batch; None where it has an array instead."""
    inputs = inputs_of(batch)
    if not isinstance(inputs, Mapping):
        return None
    return next(each for each in _nested(batch) if isinstance(each, Mapping))


def _nested(batch: Any) -> list[Any]:
    """A batch and the first elements within it."""
    found = [batch]
    while isinstance(found[-1], (tuple, list)):
        found.append(found[-1][0])
    return found


def _signature(model: nn.Module) -> inspect.Signature:
    """The arguments of a network's forward, or of a ``__call__`` of its own that names some."""
    check_unscripted(model)
    network = unwrap(model)
    if type(network).__call__ is not nn.Module.__call__:
        called = inspect.signature(network.__call__)
        if _named(called):
            return called
    return inspect.signature(network.forward)


def _first_name(model: nn.Module) -> str:
    """The name of the first argument; ``FIRST`` where it has none, as in ``*args``."""
    given = next(iter(_signature(model).parameters.values()), None)
    named = given is not None and given.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    return given.name if given is not None and named else FIRST


def _named(signature: inspect.Signature) -> set[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {each.name for each in signature.parameters.values() if each.kind in kinds}


def _fitting(model: nn.Module, entries: Mapping[Any, Any]) -> dict[str, Any]:
    """The entries that the forward of a network takes."""
    signature = _signature(model)
    named = _named(signature)
    kinds = {each.kind for each in signature.parameters.values()}
    further = inspect.Parameter.VAR_KEYWORD in kinds
    given = {k: v for k, v in entries.items() if k in named or (further and k not in ABOUT)}
    arrays = [name for name, value in entries.items() if name not in ABOUT and _is_array(value)]
    if len(arrays) == 1 and arrays[0] not in given:
        given = {FIRST: entries[arrays[0]], **given}
    first = [given[FIRST]] if FIRST in given else []
    try:
        signature.bind(*first, **{name: value for name, value in given.items() if name != FIRST})
    except TypeError as error:
        raise UsageError(
            f"a batch of {', '.join(map(str, entries))} does not fit forward{signature}: {error}; "
            "name the entries as forward does"
        ) from None
    return given


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray))


def _as_argument(value: Any, name: str, model: nn.Module) -> Any:
    """An array, or labels in a list, as a tensor that suits the network; all else as it is."""
    if name in LABELS and isinstance(value, (list, tuple)):
        value = as_dense(value, f"a batch, {name!r}")
    if _is_array(value) and not is_sparse(value):
        return _as_tensor(as_dense(value, f"a batch, {name!r}"), model)
    return value


def _as_tensor(value: Tensor | np.ndarray, model: nn.Module) -> Tensor:
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
