"""Rules on dimensions: from the axes of a function's arguments to those of its results.

A rule may also say what the dimensions of an argument are: maps that a convolution is given have
their channels at 1. ``None`` stands for results of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from repsim.activations.capture.calls import Call
from repsim.activations.capture.dimensions import (
    FEATURES,
    Axes,
    Axis,
    Dimension,
    Role,
    join,
    join_all,
    regroup,
    resized,
    role_of,
    size_of,
    suggest,
)

Found = Sequence[Axes | None]
Rule = Callable[[Call, list[Tensor]], Found]

_RULES: dict[str, Rule] = {}

#: Roles of positions; a layer that runs over such an axis beside one of features mixes positions.
_POSITIONS = (Role.POSITION, Role.MIXED)

#: Functions whose results have other axes, whatever their shape.
_OPAQUE = (
    "cdist outer ger tensordot inner kron chain_matmul addbmm conv_tbc bilinear fold rot90 cov "
    "corrcoef inverse pinverse matrix_exp matrix_power cholesky cholesky_inverse qr svd lu "
    "new_zeros new_ones new_empty new_full new_tensor"
)


def rule_of(name: str) -> Rule:
    """The rule of the function of a name; without one, it works on each element."""
    algebra = name.startswith("linalg_")  # of square matrices, whose axes change places
    return _RULES.get(name, _unknown if algebra else _each_element)


def _rule(names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(names.split(), rule))
        return rule

    return register


def _each_element(call: Call, results: list[Tensor]) -> Found:
    joined = join_all([call.axes(x) for x in call.tensors if x.ndim])
    return [_with_added(call, joined)] * len(results)


def _with_added(call: Call, joined: Axes) -> Axes:
    """The axes with those marked along which what inputs made was stretched to fixed numbers."""
    given = [x.shape for x in call.tensors if call.is_given(x)]
    found = list(joined)
    for place in range(-len(joined), 0):
        sizes = [shape[place] for shape in given if len(shape) >= -place]
        stretched = set(sizes) == {1} and size_of(joined[place]) > 1
        if stretched and role_of(joined[place]) is None:
            found[place] = (Dimension(size_of(joined[place]), added=True),)
    return tuple(found)


@_rule(_OPAQUE)
def _unknown(call: Call, results: list[Tensor]) -> Found:
    return [None] * len(results)


# --- layers


@_rule("linear")
def _linear(call: Call, results: list[Tensor]) -> Found:
    return [_runs_over_last(call.axes(call.first), results[0].shape[-1])]


def _channels(size: int, *, beside: Sequence[Axis] = ()) -> Axis:
    """A new axis of channels, beside positions where some axis is longer than one."""
    some = any(size_of(axis) > 1 for axis in beside)
    return (Dimension(size, Role.CHANNEL, of_positions=some),)


def _runs_over_last(axes: Axes, size: int) -> Axes:
    """The axes after a layer over the last one, which holds channels unless its role is known."""
    *others, last = axes
    if _is_position(last, others):
        return (*others, (Dimension(size, Role.MIXED),))
    if Role.CHANNEL not in map(role_of, others):
        suggest(last, Role.CHANNEL)
        _say_rest(others)
    return (*others, _channels(size, beside=others[1:]))


def _say_rest(others: Sequence[Axis]) -> None:
    """Make positions of the axes beside channels and examples, where both are known."""
    roles = [role_of(axis) for axis in others]
    for axis, role in zip(others, roles, strict=True):
        if role is None and Role.EXAMPLE in roles:
            suggest(axis, Role.POSITION)


def _is_position(axis: Axis, others: Sequence[Axis]) -> bool:
    """True for an axis of positions, beside one of features; a layer over it mixes positions."""
    roles = {role_of(each) for each in others}
    open_ = role_of(axis) in (None, Role.BOTH) and size_of(axis) > 1
    if open_ and Role.CHANNEL in roles:
        suggest(axis, Role.POSITION)
    return role_of(axis) in _POSITIONS and bool(roles & FEATURES)


@_rule("layer_norm rms_norm")
def _norm_over_last(call: Call, results: list[Tensor]) -> Found:
    axes = call.axes(call.first)
    if len(call.numbers(1, "normalized_shape")) != 1:
        return [axes]
    (last,) = _normalised(axes[-1:], axes[:-1])
    if role_of(last) is Role.CHANNEL and Role.CHANNEL not in map(role_of, axes[:-1]):
        _say_rest(axes[:-1])
    return [(*axes[:-1], last)]


@_rule("batch_norm instance_norm group_norm")
def _norm_over_second(call: Call, results: list[Tensor]) -> Found:
    axes = call.axes(call.first)
    _say_examples(axes)
    (second,) = _normalised(axes[1:2], axes[2:])
    _say_positions(second, axes[2:])
    return [(axes[0], second, *axes[2:])]


def _normalised(axis: Axes, others: Axes) -> Axes:
    """An axis with a scale of its own for each place, as channels have."""
    (one,) = axis
    if _is_position(one, others):
        return ((Dimension(size_of(one), Role.MIXED),),)
    suggest(one, Role.CHANNEL)
    return (one,)


def _say_positions(channel: Axis, others: Axes) -> None:
    if role_of(channel) is Role.CHANNEL:
        for axis in others:
            suggest(axis, Role.POSITION)


def _say_examples(axes: Axes) -> None:
    if axes:
        suggest(axes[0], Role.EXAMPLE)


@_rule(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d "
    "deform_conv2d convolution"
)
def _convolution(call: Call, results: list[Tensor]) -> Found:
    x, out = call.first, results[0]
    axes = call.axes(x)
    if x.ndim != call.tensors[1].ndim:  # of one example
        return [None]
    _say_examples(axes)
    second, spatial = axes[1], axes[2:]
    if _is_position(second, spatial):
        kept = map(resized, spatial, out.shape[2:])
        return [(axes[0], (Dimension(out.shape[1], Role.MIXED),), *kept)]
    suggest(second, Role.CHANNEL)
    for axis in spatial:
        suggest(axis, Role.POSITION)
    if not _runs_over_channels(spatial, out.shape):
        made = _channels(out.shape[1], beside=spatial)
        return [(axes[0], made, *map(_place, spatial, out.shape[2:]))]
    made = () if out.shape[1] == 1 else _channels(out.shape[1])
    return [(axes[0], made, *map(resized, spatial, out.shape[2:]))]


def _runs_over_channels(spatial: Sequence[Axis], shape: Sequence[int]) -> bool:
    """True for a convolution over channels as if they were positions, as in ECA-Net.

    It runs over nothing else, or gives one number for each of them, so that its result has no other
    features. A spectrum of learned filters is a map of its filters and of time.
    """
    channels = [bool(axis) and axis[0].of_positions for axis in spatial]
    return any(channels) and (shape[1] == 1 or Role.POSITION not in map(role_of, spatial))


def _place(axis: Axis, size: int) -> Axis:
    """An axis of positions; the one that there was if it is as long and of positions."""
    same = size_of(axis) == size and role_of(axis) is Role.POSITION
    return axis if same else (Dimension(size, Role.POSITION),)


@_rule("embedding")
def _embedding(call: Call, results: list[Tensor]) -> Found:
    index = call.get(0, "input")
    axes = call.axes(index)
    _say_rest(axes)
    return [(*axes, _channels(results[0].shape[-1], beside=axes[1:]))]


@_rule("lstm gru rnn_tanh rnn_relu")
def _recurrent(call: Call, results: list[Tensor]) -> Found:
    axes = call.axes(call.first)
    batch_first = call.args[-1]
    if len(axes) != 3 or not isinstance(batch_first, bool):  # packed sequences
        return [None] * len(results)
    out = _along_sequence(axes, results[0].shape[-1], examples=0 if batch_first else 1)
    return [out, *(_state(x) for x in results[1:])]


def _along_sequence(axes: Axes, size: int, *, examples: int) -> Axes:
    """The axes after a layer on sequences of three axes, with the examples at axis 0 or 1."""
    suggest(axes[examples], Role.EXAMPLE)
    suggest(axes[1 - examples], Role.POSITION)
    suggest(axes[2], Role.CHANNEL)
    return (*axes[:2], _channels(size, beside=axes[1 - examples : 2 - examples]))


def _state(x: Tensor) -> Axes:
    """The axes of a state (layers and directions, n, d), whose first is neither."""
    first, examples, last = x.shape
    unclear = Dimension(first, Role.UNCLEAR)
    return ((unclear,), (Dimension(examples),), _channels(last))


@_rule("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell")
def _recurrent_cell(call: Call, results: list[Tensor]) -> Found:
    before = call.axes(call.first)[:-1]
    return [(*before, _channels(x.shape[-1])) for x in results]


@_rule("multi_head_attention_forward")
def _attention(call: Call, results: list[Tensor]) -> Found:
    axes = call.axes(call.first)  # (tokens, n, d), whatever the module has
    if len(axes) != 3:
        return [None] * len(results)
    for place, name in ((1, "key"), (2, "value")):
        memory = call.axes(call.get(place, name))
        _along_sequence(memory, size_of(memory[-1]), examples=1)
    out = _along_sequence(axes, results[0].shape[-1], examples=1)
    return [out, *(_weights_of_heads(axes, x) for x in results[1:])]


def _weights_of_heads(queries: Axes, x: Tensor | None) -> Axes | None:
    """The axes of weights (n, heads, queries, keys); nothing says them of means (n, q, k)."""
    if x is None or x.ndim != 4:
        return None
    heads, keys = (Dimension(x.shape[k], Role.PART, beside=True) for k in (1, 3))
    return (queries[1], (heads,), queries[0], (keys,))


@_rule("scaled_dot_product_attention")
def _dot_product_attention(call: Call, results: list[Tensor]) -> Found:
    query, value = call.axes(call.get(0, "query")), call.axes(call.get(2, "value"))
    return [(*query[:-1], value[-1])]


# --- maps of another size


@_rule(
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d "
    "lp_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d "
    "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices interpolate upsample "
    "upsample_nearest upsample_bilinear grid_sample pixel_shuffle pixel_unshuffle channel_shuffle"
)
def _maps(call: Call, results: list[Tensor]) -> Found:
    axes = call.axes(call.first)
    features = {role_of(axis) for axis in axes[2:]} & {Role.CHANNEL}
    if role_of(axes[1]) not in _POSITIONS and not features:
        _say_examples(axes)
        suggest(axes[1], Role.CHANNEL)
        _say_positions(axes[1], axes[2:])
    return _other_sizes(call, results)


@_rule(
    "pad narrow chunk split split_with_sizes tensor_split index_select masked_select gather glu "
    "topk repeat tile repeat_interleave expand expand_as broadcast_to cumsum flip roll sort "
    "softmax log_softmax hsplit vsplit take_along_dim"
)
def _other_sizes(call: Call, results: list[Tensor]) -> Found:
    axes = call.axes(call.first)
    found: list[Axes | None] = []
    for x in results:
        new: Axes = tuple((Dimension(size),) for size in x.shape[: max(0, x.ndim - len(axes))])
        old = axes[len(axes) - (x.ndim - len(new)) :]
        sizes = x.shape[len(new) :]
        found.append((*new, *(_of_size(a, k) for a, k in zip(old, sizes, strict=True))))
    return found


def _of_size(axis: Axis, size: int) -> Axis:
    """The axis, resized; one that was stretched from 1 is new."""
    return resized(axis, size) if size_of(axis) > 1 else (Dimension(size, role_of(axis)),)


@_rule("cat concat concatenate hstack vstack")
def _joined(call: Call, results: list[Tensor]) -> Found:
    parts = [call.axes(x) for x in call.tensors]
    ndim, shape = len(parts[0]), results[0].shape
    found: list[Axis] = []
    for k in range(ndim):
        known = [axes[k] for axes in parts if role_of(axes[k]) is not None] or [parts[0][k]]
        if all(size_of(axes[k]) == shape[k] for axes in parts):
            axis = known[0]
            for each in known[1:]:
                axis = join(axis, each)
            found.append(axis)
        else:
            roles = {role_of(axis) for axis in known}
            role = roles.pop() if len(roles) == 1 else Role.UNCLEAR
            found.append((Dimension(shape[k], role),))
    return [tuple(found)]


@_rule("unfold")
def _unfold(call: Call, results: list[Tensor]) -> Found:
    """Windows: of F.unfold (n, c * k * k, places), of a tensor's method with an axis more."""
    axes, x = call.axes(call.first), results[0]
    if x.ndim == len(axes) + 1:
        dim = call.get(1, "dimension") % len(axes)
        sizes = (_of_size(axis, size) for axis, size in zip(axes, x.shape, strict=False))
        return [(*sizes, (Dimension(x.shape[-1], role_of(axes[dim])),))]
    places = (Dimension(x.shape[2], Role.POSITION),)
    return [(axes[0], _channels(x.shape[1]), places)] if len(axes) == 4 else [None]


@_rule("stack")
def _stacked(call: Call, results: list[Tensor]) -> Found:
    dim = call.get(1, "dim", 0) % results[0].ndim
    axes = list(join_all([call.axes(x) for x in call.tensors]))
    axes.insert(dim, (Dimension(results[0].shape[dim], added=True),))
    return [tuple(axes)]


# --- views


@_rule(
    "view reshape flatten unflatten squeeze unsqueeze view_as reshape_as ravel as_strided "
    "_unsafe_view _reshape_alias atleast_1d atleast_2d atleast_3d"
)
def _view(call: Call, results: list[Tensor]) -> Found:
    axes = call.axes(call.first)
    if call.name == "as_strided" or results[0].numel() != call.first.numel():
        return [None]
    return [regroup(axes, results[0].shape)]


@_rule("permute")
def _permute(call: Call, results: list[Tensor]) -> Found:
    axes = call.axes(call.first)
    return [tuple(axes[k] for k in call.numbers(1, "dims"))]


@_rule("transpose swapaxes swapdims")
def _transpose(call: Call, results: list[Tensor]) -> Found:
    names = {"transpose": "dim", "swapdims": "dim", "swapaxes": "axis"}[call.name]
    return [_swapped(call.axes(call.first), call.get(1, f"{names}0"), call.get(2, f"{names}1"))]


@_rule("mT mH adjoint")
def _matrix_transpose(call: Call, results: list[Tensor]) -> Found:
    return [_swapped(call.axes(call.first), -1, -2)]


@_rule("t T H numpy_T")
def _reverse(call: Call, results: list[Tensor]) -> Found:
    return [call.axes(call.first)[::-1]]


def _swapped(axes: Axes, a: int, b: int) -> Axes:
    found = list(axes)
    found[a], found[b] = found[b], found[a]
    return tuple(found)


@_rule("movedim moveaxis")
def _movedim(call: Call, results: list[Tensor]) -> Found:
    axes = call.axes(call.first)
    source, target = (
        [each % len(axes) for each in ([given] if isinstance(given, int) else given)]
        for given in (call.get(1, "source"), call.get(2, "destination"))
    )
    rest = [k for k in range(len(axes)) if k not in source]
    for place, k in sorted(zip(target, source, strict=True)):
        rest.insert(place, k)
    return [tuple(axes[k] for k in rest)]


@_rule("__getitem__")
def _index(call: Call, results: list[Tensor]) -> Found:
    index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    axes = list(call.axes(call.first))
    found: list[Axis] = []
    for each in _whole_index(index, len(axes)):
        if each is None:
            found.append(())
        elif isinstance(each, slice):
            axis = axes.pop(0)
            found.append(resized(axis, len(range(*each.indices(size_of(axis))))))
        elif isinstance(each, int):
            axes.pop(0)
        else:
            return [None]
    return [tuple(found)]


def _whole_index(index: tuple[Any, ...], ndim: int) -> list[Any]:
    """An index with a slice for every axis that it leaves as it is."""
    named = sum(each is not None and each is not Ellipsis for each in index)
    rest = [slice(None)] * (ndim - named)
    place = next((k for k, each in enumerate(index) if each is Ellipsis), len(index))
    return [*index[:place], *rest, *index[place + 1 :]]


@_rule("select")
def _select(call: Call, results: list[Tensor]) -> Found:
    return [_without(call.axes(call.first), [call.get(1, "dim")])]


@_rule("unbind")
def _unbind(call: Call, results: list[Tensor]) -> Found:
    return [_without(call.axes(call.first), [call.get(1, "dim", 0)])] * len(results)


@_rule(
    "mean sum amax amin max min std var norm logsumexp median prod nanmean nansum argmax argmin "
    "std_mean var_mean all any count_nonzero aminmax mode kthvalue vector_norm linalg_vector_norm"
)
def _reduce(call: Call, results: list[Tensor]) -> Found:
    axes = call.axes(call.first)
    if len(call.tensors) > 1 and call.name in ("max", "min"):
        return _each_element(call, results)
    place = 2 if call.name in ("norm", "kthvalue", "vector_norm", "linalg_vector_norm") else 1
    dims = call.kwargs.get("axis", call.get(place, "dim"))
    if dims is None:
        return [None] * len(results)
    dims = [dims] if isinstance(dims, int) else list(dims)
    if results[0].ndim == len(axes):
        reduced = {dim % len(axes) for dim in dims}
        return [tuple(() if k in reduced else a for k, a in enumerate(axes))] * len(results)
    return [_without(axes, dims)] * len(results)


def _without(axes: Axes, dims: Sequence[int]) -> Axes:
    left = {dim % len(axes) for dim in dims}
    return tuple(axis for k, axis in enumerate(axes) if k not in left)


# --- products


@_rule("matmul bmm mm __matmul__ __rmatmul__ addmm baddbmm addmv mv")
def _product(call: Call, results: list[Tensor]) -> Found:
    *_, a, b = call.tensors
    if call.name == "__rmatmul__":
        a, b = b, a
    if a.ndim < 2 or b.ndim < 2:
        return [None]
    rows, columns = call.axes(a), call.axes(b)
    if b.ndim == 2 and not call.is_given(b):
        return [_runs_over_last(rows, results[0].shape[-1])]
    before = join_all([rows[:-2], columns[:-2]])
    return [(*before, rows[-2], columns[-1])]


@_rule("einsum")
def _einsum(call: Call, results: list[Tensor]) -> Found:
    terms, arrow, out = call.args[0].replace(" ", "").partition("->")
    if not arrow or "." in call.args[0]:
        return [None]
    named: dict[str, Axis] = {}
    own: dict[str, int] = {}
    for term, x in zip(terms.split(","), call.tensors, strict=True):
        for letter, axis in zip(term, call.axes(x), strict=True):
            if not call.is_given(x):
                own[letter] = size_of(axis)
            else:
                named[letter] = join(named[letter], axis) if letter in named else axis
    summed = {role_of(axis) for letter, axis in named.items() if letter not in out}
    kept = {role_of(axis) for letter, axis in named.items() if letter in out}
    mixes = bool(summed & set(_POSITIONS)) and bool(kept & FEATURES)
    role = Role.MIXED if mixes else Role.CHANNEL
    return [tuple(named.get(each, (Dimension(own.get(each, 0), role),)) for each in out)]
