"""Batches of a loader, and the inputs of a network in them.

A batch is a tensor or array (n, ...); a tuple or list that begins with one, or with a dictionary,
followed by labels and ids; or a dictionary by the names of the network's arguments, at least one of
them a tensor or array.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from repsim.activations.capture.fillers import ends_at
from repsim.activations.capture.pairs import is_of_pairs
from repsim.data.targets import LABEL
from repsim.dense import as_dense, is_sparse
from repsim.errors import RepsimWarning, UsageError

Taken = TypeVar("Taken")

#: Keys of a dictionary that are about the examples; arguments only of a network that names them.
LABELS = ("labels", "label")
_IDS = ("ids", "id")
ABOUT = frozenset({*LABELS, *_IDS})


def inputs_of(batch: Any) -> Any:
    """The inputs of a network in a batch: a tensor, an array, or the arrays of a dictionary.

    Raises:
        UsageError: there is none.
    """
    if isinstance(batch, PackedSequence):
        raise UsageError(
            "a batch gave a PackedSequence, which has no row for each example; expected padded "
            "inputs and their lengths, as {'x': ..., 'lengths': ...}: pack them in forward"
        )
    if isinstance(batch, (tuple, list)) and batch:
        if isinstance(batch[0], PackedSequence):
            return inputs_of(batch[0])
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
            if key not in ABOUT
            and isinstance(value, (Tensor, np.ndarray))
            and not (is_sparse(value) and _is_of_all(value, batch))
        }
        if inputs:
            for name in inputs:
                if "offset" in str(name):
                    _check_no_offsets(inputs[name], inputs.values())
            return inputs
        raise UsageError(
            f"a batch has no tensor beside labels and ids; it has {_kinds(batch)}: make tensors or "
            "arrays of them"
        )
    raise UsageError(
        f"a batch gave {type(batch).__name__} as inputs; expected a tensor or array, a dictionary "
        "of them by the names of the network's arguments, or a tuple or list that begins with one"
    )


def _is_of_all(sparse: Tensor | np.ndarray, entries: Mapping[Any, Any]) -> bool:
    """True for a sparse entry beside dense ones that has no row for each example of these.

    A square with as many rows is an adjacency.
    """
    dense = [
        value
        for key, value in entries.items()
        if key not in ABOUT and _has_rows(value) and not is_sparse(value)
    ]
    rows, *others = sparse.shape
    return bool(dense) and (others == [rows] or all(len(each) != rows for each in dense))


def sparse_of(batch: Any) -> dict[str, Tensor]:
    """The sparse entries of the dictionary of a batch, which belong to all of it."""
    return {str(name): x for name, x in dictionary_of(batch).items() if is_sparse(x)}


def arrays_of(batch: Any) -> list[Any]:
    """The inputs of a network in a batch, as a list also where they are one or have names."""
    inputs = inputs_of(batch)
    return list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]


def _kinds(entries: Mapping[Any, Any]) -> str:
    """The entries of a dictionary with their types, such as ``input_ids (list)``."""
    return ", ".join(f"{name} ({type(value).__name__})" for name, value in entries.items())


def _check_one_input(batch: Sequence[Any]) -> None:
    """Raise ``UsageError`` for a list of examples, or for several inputs: only one would be read.

    A tuple or list is (inputs, labels, ids), so that no further input can follow the first.
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
    if len(batch) in (2, 3) and all(map(_is_row, batch)):  # labels may come before
        _check_no_offsets(batch[-1], batch[-2:-1])
    for each in others:
        _check_count(first, each)
        _check_no_mask(first, each)
        _check_no_lengths(first, each)
    if _are_examples(batch) or any(_is_further(first, each) for each in others):
        raise UsageError(
            f"a batch gave {len(batch)} arrays, the first {tuple(first.shape)}, as a loader of "
            "several views does, or one with collate_fn=list; expected one (n, ...), followed by "
            "labels and ids: choose a view, or give several inputs as a dictionary by the names of "
            "the network's arguments"
        )


def _has_rows(value: Any) -> bool:
    """True for a tensor or array with at least one axis."""
    return isinstance(value, (Tensor, np.ndarray)) and value.ndim > 0


def _check_no_offsets(offsets: Any, entries: Iterable[Any]) -> None:
    """Raise ``UsageError`` for places where examples begin in one row of all their tokens."""
    if not _is_row(offsets) or len(offsets) == 0 or getattr(offsets, "is_meta", False):
        return
    rise = bool((offsets[1:] >= offsets[:-1]).all()) and int(offsets[0]) == 0
    rise = rise and (int(offsets[-1]) > 0 or len(offsets) == 1)
    for each in entries if rise else ():
        if _is_row(each) and len(each) > len(offsets) and int(offsets[-1]) <= len(each):
            raise UsageError(
                f"a batch gave {len(each)} whole numbers in one row, and {len(offsets)} that say "
                "where an example begins in it, as offsets of an EmbeddingBag do; expected a row "
                "for each example: pad them to (n, length), which an EmbeddingBag takes without "
                "offsets (padding_idx leaves padding out), or make one row of them in forward"
            )


def _is_row(value: Any) -> bool:
    """True for one row of whole numbers."""
    return _are_whole(value) and value.ndim == 1


def _check_count(first: Any, other: Any) -> None:
    """Raise ``UsageError`` for a row of labels or ids that has not one for each example."""
    if not (_has_rows(first) and _has_rows(other)) or other.ndim > 1 or first.ndim < 2:
        return
    n, count, shape = len(first), len(other), tuple(first.shape)
    if count == n:
        return
    if count in shape[1:]:
        axis = shape.index(count, 1)
        raise UsageError(
            f"a batch gave inputs {shape} and {count} labels or ids; expected one for each of {n}, "
            f"or --batch-axis {axis} (batch_axis={axis}) if that axis holds the examples"
        )
    raise UsageError(
        f"a batch gave {n} inputs, of shape {shape}, and {count} labels or ids; expected one each: "
        "batches are (inputs, labels, ids)"
    )


def _check_no_mask(first: Any, other: Any) -> None:
    """Raise ``UsageError`` for a possible mask in the place of labels or ids."""
    if _has_rows(other) and other.ndim == 2 and other.shape[1] > 1:
        _check_no_mask_of_tokens(first, other)
        _check_no_mask_of_steps(first, other)


def _check_no_mask_of_tokens(first: Any, other: Tensor | np.ndarray) -> None:
    """Raise ``UsageError`` for an array of the same shape as token ids before it.

    Labels of texts have that shape only by chance. A dictionary that has a mask needs no other.
    """
    found = next((k for k, v in _numbers(first) if v.shape == other.shape), None)
    if found is None:
        return
    raise UsageError(
        f"a batch gave whole numbers {tuple(other.shape)} and an array of the same shape behind "
        "them, as a TensorDataset(input_ids, attention_mask) does; behind inputs come labels and "
        f"ids: give {{{found!r}: ..., 'attention_mask': ...}} in one dictionary, labels by name, "
        "as in (inputs, {'label': labels}), or leave out targets that are tokens, as in (inputs,)"
    )


def _check_no_mask_of_steps(first: Any, other: Tensor | np.ndarray) -> None:
    """Raise ``UsageError`` for zeros and ones behind inputs (n, steps, d) that mark their steps.

    In a mask of padding, ones stand together at one end of each row. Labels of several classes do
    so in all rows by chance alone.
    """
    if not _has_rows(first) or first.ndim != 3:
        return
    if sorted(other.shape) != sorted(first.shape[:2]):  # examples may come second
        return
    marks = torch.as_tensor(other)
    binary = bool(((marks == 0) | (marks == 1)).all()) and bool((marks == 0).any())
    if not binary or bool((marks.double().diff(dim=1) != 0).sum(1).gt(1).any()):
        return
    raise UsageError(
        f"a batch gave inputs {tuple(first.shape)} and zeros and ones {tuple(other.shape)} behind "
        "them, which mark steps as a mask of padding does; behind inputs come labels and ids: give "
        "both in one dictionary by the names of the network's arguments, or labels by name, as in "
        "(inputs, {'label': labels})"
    )


def _check_no_lengths(first: Any, other: Any) -> None:
    """Raise ``UsageError`` for the lengths of padded inputs in the place of labels or ids."""
    if not (_has_rows(other) and other.ndim == 1 and len(other) and _are_whole(other)):
        return
    if getattr(other, "is_meta", False):
        return  # whoever reads them refuses them
    entries = first if isinstance(first, Mapping) else {"input": first}
    for name, value in entries.items() if _has_no_mask(entries) else ():
        if name not in ABOUT and _has_rows(value) and len(value) == len(other):
            _check_goes_on(str(name), torch.as_tensor(value), torch.as_tensor(other).long())


def _check_goes_on(name: str, value: Tensor, counts: Tensor) -> None:
    """Raise ``UsageError`` for inputs that evidently end, or begin, with so many positions."""
    counts = counts.to(value.device)
    for axis in range(1, value.ndim):
        along = value.movedim(axis, 1)
        if ends_at(along, counts) or ends_at(along.flip(1), counts):
            raise UsageError(
                f"a batch gave inputs {tuple(value.shape)} and whole numbers ({len(value)},) "
                f"behind them, which are the lengths of examples that are padded along axis {axis};"
                f" behind inputs come labels and ids: give {{{name!r}: ..., 'lengths': ...}} in one"
                " dictionary by the names of the network's arguments, or labels by name, as in "
                "(inputs, {'label': labels})"
            )


def _has_no_mask(entries: Mapping[Any, Any]) -> bool:
    names = list(map(str, entries))
    return not any("mask" in name or name.endswith(("lengths", "lens")) for name in names)


def _numbers(first: Any) -> list[tuple[str, Tensor | np.ndarray]]:
    """The inputs of whole numbers by name, if no mask is among them."""
    entries = first if isinstance(first, Mapping) else {"input_ids": first}
    if not _has_no_mask(entries):
        return []
    return [
        (str(name), value)
        for name, value in entries.items()
        if name not in ABOUT and _are_whole(value)
    ]


def _are_whole(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    return isinstance(value, np.ndarray) and value.dtype.kind in "iu"


def _are_examples(batch: Sequence[Any]) -> bool:
    """True for more arrays of one shape than inputs, labels and ids are."""
    return len(batch) > 3 and all(map(_has_rows, batch)) and len({a.shape for a in batch}) == 1


def _is_further(first: Any, other: Any) -> bool:
    """True for values that cannot be labels or ids of inputs: of another length, or as large."""
    if not (_has_rows(first) and _has_rows(other)):
        return False
    alike = first.ndim > 2 and first.shape == other.shape and first.dtype == other.dtype
    return len(first) != len(other) or alike


def batch_size(batch: Any) -> int:
    """The number of examples in a batch.

    Raises:
        UsageError: no batch, or one without a dimension of examples.
    """
    # A row of numbers may be of the whole batch, such as a scale for each feature.
    values = sorted(arrays_of(batch), key=lambda v: v.ndim < 2)
    sizes = [len(each) for each in values if each.ndim]
    if not sizes:
        raise UsageError("a batch gave a single number; expected (n, ...)")
    told = [_beside(batch, 2, _IDS), _beside(batch, 1, LABELS)]
    counts = [len(each) for each in told if hasattr(each, "__len__") and _shape(each)]
    return next((size for size in sizes if size in counts), sizes[0])


def filled(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches that have an example, or that are no batches, which their reader refuses."""
    for batch in batches:
        empty = False
        with suppress(UsageError):
            empty = all(0 in each.shape for each in arrays_of(batch))
        if not empty:
            yield batch


def head(batch: Any, k: int) -> Any:
    """The first ``k`` examples of a batch, labels and ids too; other entries stay whole."""
    return pick(batch, range(min(k, batch_size(batch))))


def few(batch: Any, others: Collection[int] = ()) -> int:
    """The number of examples that a network is shown first: three, or a few more.

    No entry of the whole batch is as long, which would be cut with the examples of so few; nor has
    a list of arrays as many elements as these have rows then, for either may be the examples; nor
    is it one of some other lengths, from which the examples are to be told apart.
    """
    n = batch_size(batch)
    entries = dictionary_of(batch).items()
    whole = [value for name, value in entries if not is_by_example(name, value, n)]
    sizes = {size for value in whole for size in _sizes(value)} | {*others}
    lists = [value for _, value in entries if type(value) in (tuple, list)]
    sizes |= {len(each) for value in lists for each in value if _has_rows(each)}
    sizes |= {len(value) for value in lists if are_parts(value, n)}
    return next(k for k in range(min(3, n), n + 1) if k == n or k not in sizes)


def _sizes(value: Any) -> list[int]:
    """The lengths at which ``pick`` would cut a value."""
    if is_sparse(value):
        return []
    if isinstance(value, (Tensor, np.ndarray)):
        return [len(value)] if value.ndim else []
    if isinstance(value, Mapping):
        return [size for each in value.values() for size in _sizes(each)]
    if not isinstance(value, (tuple, list)):
        return []
    return [len(value), *(len(each) for each in value if _has_rows(each))]


def telling(
    batches: Iterable[Taken], size: Callable[[Taken], int]
) -> tuple[Taken | None, Iterator[Taken]]:
    """The batch that shows what a network does, and all batches.

    The first one; where that has one example, the second if it has more. None without any.
    """
    left = iter(batches)
    begun = list(islice(left, 1))
    if not begun or size(begun[0]) != 1:
        return next(iter(begun), None), chain(begun, left)
    begun = [own(begun[0]), *islice(left, 1)]  # a loader may use its memory for the next one
    return max(begun, key=size), chain(begun, left)


def pick(batch: Any, places: Sequence[int]) -> Any:
    """The examples at some places of a batch, as ``head`` gives the first ones."""
    n, index = batch_size(batch), list(places)

    def cut(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                k: cut(each) if is_by_example(k, each, n) else each for k, each in value.items()
            }
        if isinstance(value, (Tensor, np.ndarray)):
            return value[index] if value.ndim and len(value) == n else value
        if are_parts(value, n):
            return type(value)(each[index] for each in value)
        if isinstance(value, (tuple, list)) and len(value) == n:
            return [value[k] for k in index]
        return value

    if isinstance(batch, (tuple, list)) and isinstance(batch[0], (tuple, list)):
        return [[cut(batch[0][0])], *map(cut, batch[1:])]
    return [cut(each) for each in batch] if isinstance(batch, (tuple, list)) else cut(batch)


def is_by_example(name: str, value: Any, n: int) -> bool:
    """True for an entry of a dictionary that has an element for each of n examples."""
    if is_sparse(value) or is_of_pairs(name, value):
        return False
    if isinstance(value, (Tensor, np.ndarray)):
        return bool(value.ndim) and len(value) == n
    listed = isinstance(value, (tuple, list)) and len(value) == n
    return listed or isinstance(value, Mapping) or are_parts(value, n)


def array_of(value: Any) -> Tensor | None:
    """An array, or a list with numbers or a row of them for each example, as a tensor; else None.

    Rows are lists, tuples or arrays of one length.
    """
    if is_sparse(value):
        return None
    if isinstance(value, (Tensor, np.ndarray)):
        return torch.as_tensor(value)
    if type(value) not in (list, tuple) or not value:
        return None
    first = value[0]
    if not isinstance(first, (Tensor, np.ndarray, list, tuple, bool, int, float, np.number)):
        return None
    if len({len(each) if np.ndim(each) == 1 else -np.ndim(each) for each in value}) > 1:
        return None
    return _stacked(value) if np.ndim(first) < 2 else None


def _stacked(rows: Sequence[Any]) -> Tensor | None:
    """Numbers, or rows of as many numbers each, as a tensor; None of anything else."""
    with suppress(ValueError, TypeError, RuntimeError):
        return torch.stack([torch.as_tensor(each) for each in rows])
    return None


def in_form(before: Any, value: Tensor) -> Any:
    """A tensor as a list or a tuple where one was there before, with elements of the same form."""
    if type(before) not in (list, tuple):
        return value
    rows = list(value)
    if not (before and isinstance(before[0], Tensor)):
        arrays = bool(before) and isinstance(before[0], np.ndarray)
        rows = [each.numpy() for each in rows] if arrays else value.tolist()
    return type(before)(rows)


def rows_of(value: Any, n: int) -> list[Any]:
    """The part of a list, or of a tuple of arrays, for each of n examples; dictionaries whole."""
    if isinstance(value, Mapping):
        return [value] * n
    return [[each[k] for each in value] for k in range(n)] if are_parts(value, n) else list(value)


def are_parts(value: Any, n: int) -> bool:
    """True for a tuple or list of arrays that each have an element for each of n examples.

    As many rows of numbers as there are examples are a row for each of them.
    """
    return (
        type(value) in (tuple, list)
        and bool(value)
        and all(_has_rows(each) and len(each) == n for each in value)
        and (len(value) != n or all(each.ndim > 1 for each in value))
    )


def without(batch: Any, names: Collection[str]) -> Any:
    """A batch without some entries of its dictionary."""

    def left(inputs: Any) -> Any:
        if not isinstance(inputs, Mapping):
            return inputs
        return {name: value for name, value in inputs.items() if name not in names}

    return with_inputs(batch, left) if names else batch


def with_inputs(batch: Any, change: Callable[[Any], Any]) -> Any:
    """A batch whose inputs, alone or first, are changed."""
    if isinstance(batch, (tuple, list)) and batch:
        return [with_inputs(batch[0], change), *batch[1:]]
    return change(batch)


def to_device(batch: Any, device: torch.device | str) -> Any:
    """The batch with the tensors that the network may be fed with on ``device``.

    Labels and ids beside the inputs stay where they are; arrays become tensors only when they are
    fed.
    """
    return _fed(batch, lambda x: (x if is_sparse(x) else as_dense(x, "a batch")).to(device))


def as_type(batch: Any, kind: torch.dtype) -> Any:
    """The batch with the floating-point tensors that the network is fed with in another type."""
    return _fed(batch, lambda each: each.to(kind) if each.is_floating_point() else each)


def _fed(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return with_inputs(batch, lambda inputs: _changed(inputs, change))


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A value with every tensor in it changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _changed(each, change) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_changed(each, change) for each in value)
    return value


def own(value: Any) -> Any:
    """A copy of the tensors and arrays of a batch, in dictionaries, lists and tuples of the same.

    Arrays become contiguous and of the machine's own byte order, as torch asks for.
    """
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, np.ndarray):
        return np.array(value, value.dtype.newbyteorder("="), order="C", subok=True)
    if isinstance(value, Mapping):
        return {key: own(each) for key, each in value.items()}
    if type(value) in (list, tuple) or hasattr(value, "_fields"):
        parts = [own(each) for each in value]
        named = hasattr(value, "_fields")
        return type(value)(*parts) if named else tuple(parts) if type(value) is tuple else parts
    return value


def targets_of(batch: Any, arguments: Collection[str] = ()) -> dict[str, np.ndarray]:
    """The targets that come with a batch, by name.

    Classes are int64 (n,), rows of zeros and ones uint8 (n, k). Labels without a name are the
    target ``label``; several targets come as a dictionary in place of labels. An entry of the
    inputs' dictionary is a target only where it can be one: labels of tokens are none.

    Args:
        batch: of any kind.
        arguments: names among ``labels`` and ``label`` that the network takes, where an entry of
            any kind is for the network.

    Raises:
        UsageError: they are neither classes from 0, nor zeros and ones, one each.
    """
    given, n = _beside(batch, 1, LABELS), batch_size(batch)
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(name): _target(values, n) for name, values in given.items()}
    told = _key_of(batch, 1, LABELS)
    try:
        return {LABEL: _target(given, n)}
    except UsageError as error:
        if told is not None and (told in arguments or isinstance(error, _NoLabelsError)):
            return {}
        raise


def warn_of_left_out(batch: Any, arguments: Collection[str] = ()) -> bool:
    """Warn of labels in a dictionary that are no targets, nor arguments; True if there are any.

    The arguments are those of ``targets_of``.

    Warns:
        RepsimWarning: such labels, as those of tokens are.
    """
    told = _key_of(batch, 1, LABELS)
    if told is None or told in arguments or targets_of(batch, arguments):
        return False
    given = dictionary_of(batch)[told]
    if given is None or isinstance(given, Mapping):
        return False
    shape = _shape(given) or _parts(given)
    warnings.warn(
        f"{told!r} {shape} are no labels of the examples, as those of tokens and "
        "targets of a regression are none: left out, for forward does not take them either",
        RepsimWarning,
        stacklevel=3,
    )
    return True


class _NoLabelsError(UsageError):
    """Something else than labels comes second, or under their name."""


#: The remedy where something else than labels comes second.
_NO_LABELS = (
    "Of targets that are no labels, as of a regression or of tokens, give the inputs alone, "
    "(inputs,), or {'input': inputs} by the names that forward has"
)


def _target(given: Any, n: int) -> np.ndarray:
    if _shape(given) is None:
        raise _NoLabelsError(
            f"a batch of {n} examples came with {_parts(given)} as labels, as mixup and cutmix "
            "give them; expected a whole number each: read the examples unmixed, with one label "
            "each, several labels as a dictionary, or give the inputs alone, (inputs,)"
        )
    given = as_dense(given, "labels of a batch")
    values = np.asarray(given.cpu() if isinstance(given, Tensor) else given)
    if values.dtype.kind == "f" and values.ndim in (1, 2) and np.isin(values, (0, 1)).all():
        values = values.astype(np.uint8)  # as losses of zeros and ones want them
    texts = values.dtype.kind == "O" and any(isinstance(each, str) for each in values.flat)
    if (texts or values.dtype.kind in "US") and values.size:
        raise UsageError(
            f"a batch of {n} examples came with labels that are text, such as "
            f"{str(values.flat[0])!r}; expected a whole number each, the same for a class in all "
            "batches: number the classes of the data set, as classes.index(name) does; names of "
            "examples come third, as in (inputs, labels, ids)"
        )
    if values.dtype.kind not in "iub" or values.shape[:1] != (n,) or values.ndim > 2:
        raise _NoLabelsError(
            f"a batch of {n} examples came with labels of {values.dtype}, shape "
            f"{values.shape}; expected a whole number each, or zeros and ones (n, k): batches are "
            f"(inputs, labels, ids). {_NO_LABELS}"
        )
    if values.ndim == 2:
        if not np.isin(values, (0, 1)).all():
            raise _NoLabelsError(
                f"a batch came with labels of shape {values.shape} that are not zeros and ones. "
                f"{_NO_LABELS}"
            )
        return values.astype(np.uint8)
    for label in (values.min(), values.max()) if values.size else ():
        if not 0 <= int(label) < 1 << 63:
            raise UsageError(
                f"a batch came with label {label}; expected classes from 0, below 2^63"
            )
    return values.astype(np.int64)


def ids_of(batch: Any) -> list[str] | None:
    """The names of the examples of a batch, or None.

    Raises:
        UsageError: not one each.
    """
    given = _beside(batch, 2, _IDS)
    if given is None:
        return None
    if isinstance(given, (Tensor, np.ndarray)) and given.ndim > 1:
        raise UsageError(
            f"a batch of {batch_size(batch)} examples came with ids of shape {tuple(given.shape)}; "
            "expected one each: batches are (inputs, labels, ids)"
        )
    ids = [_id(each) for each in _listed(given)]
    if len(ids) != batch_size(batch):
        raise UsageError(f"a batch of {batch_size(batch)} examples came with {len(ids)} ids")
    return ids


def _id(value: Any) -> str:
    """The name of an example as a text.

    Raises:
        UsageError: it is no name, such as a fraction that rounding would change.
    """
    value = value.item() if isinstance(value, (Tensor, np.ndarray)) and not value.ndim else value
    if value is None or isinstance(value, (float, complex, Tensor, np.ndarray, list, dict, set)):
        raise UsageError(
            f"a batch came with an id that is a {type(value).__name__}, {value!s:.40}; expected "
            "a text or a whole number each: batches are (inputs, labels, ids)"
        )
    return value.decode() if isinstance(value, bytes) else str(value)


def warn_of_further(batch: Any) -> None:
    """Warn of entries of a tuple or list beyond inputs, labels and ids, which are not read."""
    if not isinstance(batch, (tuple, list)) or len(batch) <= 3:
        return
    warnings.warn(
        f"a batch has {len(batch)} entries, of which the first three are read, as (inputs, labels, "
        "ids); give further inputs as a dictionary by the names of the network's arguments, and "
        "further labels as one in place of labels",
        RepsimWarning,
        stacklevel=3,
    )


class Naming:
    """A check over the batches of a pass: all come with ids, or none."""

    def __init__(self) -> None:
        self._named: bool | None = None

    def ids(self, batch: Any) -> list[str] | None:
        """The ids of the next batch, as of ``ids_of``.

        Raises:
            UsageError: it has ids and the first has none, or the reverse.
        """
        found = ids_of(batch)
        self._named = found is not None if self._named is None else self._named
        if self._named is not (found is not None):
            said = ("with ids", "without") if self._named else ("without ids", "with them")
            raise UsageError(
                f"the first batch came {said[0]} and a later one {said[1]}; expected ids with all "
                "or with none"
            )
        return found


def _shape(given: Any) -> tuple[int, ...] | None:
    """The shape of labels or ids; None of parts that are no one array."""
    with suppress(ValueError):
        return tuple(np.shape(given))
    return None


def _parts(given: Any) -> str:
    """The parts of labels with their shapes, such as ``(tensor (16,), float)``."""
    kinds = (f"{type(each).__name__} {_shape(each) or ''}".lower().strip() for each in given)
    return f"({', '.join(islice(kinds, 4))}{', ...' if len(given) > 4 else ''})"


def _beside(batch: Any, place: int, keys: tuple[str, ...]) -> Any:
    """An entry of a batch about its examples, in its place or under one of its keys."""
    if isinstance(batch, (tuple, list)) and len(batch) > place:
        return batch[place]
    key = _key_of(batch, place, keys)
    return None if key is None else dictionary_of(batch)[key]


def _key_of(batch: Any, place: int, keys: tuple[str, ...]) -> str | None:
    """The key in the dictionary of a batch under which such an entry is; None where there is none.

    An entry in its place comes before one under a key.
    """
    if isinstance(batch, (tuple, list)) and len(batch) > place:
        return None
    return next((key for key in keys if key in dictionary_of(batch)), None)


def dictionary_of(batch: Any) -> Mapping[Any, Any]:
    """The dictionary of a batch, alone or first; empty where it has none."""
    first = first_of(batch)
    return first if isinstance(first, Mapping) else {}


def first_of(batch: Any) -> Any:
    """The first element of a batch, before labels and ids; the batch itself where it has none."""
    return batch[0] if isinstance(batch, (tuple, list)) and batch else batch


def _listed(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, (Tensor, np.ndarray)) else list(values)
