"""Hooks that are right: each of these has gone wrong in another tool."""

from __future__ import annotations

import copy
import re
import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import repsim
from repsim.activations import Capture, trace, unwrap
from repsim.activations.capture.modules import default_layers
from repsim.activations.capture.tracing import Traced, trace_rows
from repsim.errors import CaptureError, RepsimWarning, UsageError
from repsim.layers import Address, select_layers


def network(*, inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace), nn.Flatten(), nn.Linear(288, 5)
    )


IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def take(
    model: nn.Module, layers: list[str] | str | None = None, images: Any = IMAGES
) -> dict[str, Tensor]:
    with Capture(model, layers) as capture:
        model(images)
        return capture.take()


def shapes(taken: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(values.shape) for name, values in taken.items()}


class Calls(nn.Module):
    """A network whose forward is a function of itself and its input."""

    def __init__(self, forward: Any, **modules: nn.Module) -> None:
        super().__init__()
        self._function = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Any) -> Any:
        return self._function(self, x)


class Returns(nn.Module):
    """A module that returns what a function makes of its input."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self._function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


def test_an_operation_in_place_does_not_change_what_was_captured() -> None:
    plain, inplace = take(network()), take(network(inplace=True))
    for layer in plain:
        torch.testing.assert_close(plain[layer], inplace[layer], rtol=0, atol=0)
    values = {name: v.numpy() for name, v in plain.items()}
    other = {name: v.numpy() for name, v in inplace.items()}
    diagonal = repsim.cka_map(values, other).diagonal()
    np.testing.assert_allclose(diagonal, 1, atol=1e-6)


def test_a_reduction_that_returns_a_view_is_copied_too() -> None:
    model = network(inplace=True)
    with Capture(model, ["1"], reduce=lambda layer, x: x.flatten(1)) as capture:
        model(IMAGES)
        taken = capture.take()["1"]
    torch.testing.assert_close(taken, take(network(), ["1"])["1"].flatten(1), rtol=0, atol=0)


def test_layers_come_in_order_of_execution() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 4)
            self.first = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x))

    model = Backwards()
    assert default_layers(model) == ["last", "first"]
    with Capture(model) as capture:
        model(torch.randn(2, 4))
        assert list(capture.take()) == ["first", "last"]


def test_the_network_is_left_as_it_was() -> None:
    model = network()
    model.train()
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="stop"), Capture(model):
        model(IMAGES)
        assert not model.training
        raise RuntimeError("stop")
    assert model.training
    assert not model[1].training
    assert not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name  # running statistics did not move
    assert model(IMAGES).requires_grad


def test_a_failing_forward_leaves_no_hook() -> None:
    model = network()
    with pytest.raises(RuntimeError), Capture(model):
        model(torch.randn(2, 7, 8, 8))
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_that_is_never_called_is_named() -> None:
    model = network()
    model.register_module("spare", nn.Linear(2, 2))
    model.forward = lambda x: model[4](model[3](model[2](model[1](model[0](x)))))  # type: ignore[method-assign]
    with pytest.raises(CaptureError, match="'spare' was not called"):
        take(model, ["0", "spare"])


class Twice(nn.Module):
    """Calls one ReLU two times."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.relu(x) - 1)


def test_a_layer_called_twice_is_recorded_per_call_and_not_overwritten() -> None:
    taken = take(Twice())
    assert list(taken) == ["relu#0", "relu#1"]
    torch.testing.assert_close(taken["relu#0"], IMAGES.relu(), rtol=0, atol=0)
    torch.testing.assert_close(taken["relu#1"], (IMAGES.relu() - 1).relu(), rtol=0, atol=0)


class Recurrent(nn.Module):
    """A GRU, which returns a tuple, of one layer or several."""

    def __init__(self, layers: int = 1) -> None:
        super().__init__()
        self.rnn = nn.GRU(8, 4, num_layers=layers, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x.flatten(2)[:, :, :8])[0]


def test_the_tensors_of_a_tuple_have_paths() -> None:
    taken = take(Recurrent())
    assert {name: tuple(v.shape) for name, v in taken.items()} == {
        "rnn:0": (16, 3, 4),
        "rnn:1": (1, 16, 4),
    }
    assert list(take(Recurrent(), ["rnn:1"])) == ["rnn:1"]


def test_an_unknown_layer_suggests_the_nearest() -> None:
    from repsim.networks import ResNet

    with pytest.raises(UsageError, match=r"no layer 'bg1.b0.evn'; did you mean 'bg1.b0.even'"):
        Capture(ResNet(3, 10, 4), ["bg1.b0.evn"])


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (None, ["stem", "bg1.b0.odd", "bg1.b0.even", "head"]),
        ("all", ["stem", "bg1.b0.odd", "bg1.b0.even", "head"]),
        ("odd", ["bg1.b0.odd"]),
        ("even,head", ["bg1.b0.even", "head"]),
        (["head", "stem"], ["head", "stem"]),
        ("bg*", ["bg1.b0.odd", "bg1.b0.even"]),
    ],
)
def test_layers_are_chosen_by_pattern(patterns: str | list[str] | None, chosen: list[str]) -> None:
    assert select_layers(["stem", "bg1.b0.odd", "bg1.b0.even", "head"], patterns) == chosen


def test_a_name_goes_before_a_pattern() -> None:
    assert select_layers(["x0", "x[0]"], "x[0]") == ["x[0]"]
    assert select_layers(["odd", "b.odd"], "odd") == ["odd"]


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"the network has no layer 'bg9"):
        select_layers(["stem"], "stem,bg9.*")


def test_compare_with_itself_is_one_and_restores_the_network() -> None:
    model = network()
    model.train()
    loader = list(IMAGES.split(8))
    found = repsim.compare(model, model, loader)
    np.testing.assert_allclose(found.diagonal(), 1, atol=1e-6)
    assert found.layers_a == ("0", "1", "2", "3", "4")
    assert model.training
    assert found.n == 16


def test_compare_takes_labels_beside_images_and_other_layers_for_each_side() -> None:
    loader = [(images, torch.zeros(len(images))) for images in IMAGES.split(8)]
    found = repsim.compare(
        network(), network(), loader, layers_a=["0", "2"], layers_b=["4"], kernel="rbf"
    )
    assert found.unbiased.shape == (2, 1)
    assert found.kernel == "rbf:0.5"
    with pytest.raises(UsageError, match="gave str as inputs"):
        repsim.compare(network(), network(), ["no images"])


# In place, through whatever


@pytest.mark.parametrize("reduced", [None, lambda _, x: x, lambda _, x: x[:, ::2], "numpy"])
def test_data_changed_behind_autograds_back_is_not_what_was_captured(reduced: Any) -> None:
    def spoil(self: Any, x: Tensor) -> Tensor:
        x = self.conv(x)
        x.data.mul_(0)
        return x

    reduce = (lambda _, x: x.numpy()) if reduced == "numpy" else reduced
    model = Calls(spoil, conv=nn.Conv2d(3, 4, 3))
    with Capture(model, ["conv"], reduce=reduce) as capture:
        assert not model(IMAGES).any()
        assert capture.take()["conv"].any()


def test_an_input_is_copied_before_the_module_changes_it() -> None:
    model = network(inplace=True)
    taken = take(model, ["1", "2@input", "2"])
    torch.testing.assert_close(taken["2@input"], taken["1"], rtol=0, atol=0)
    assert (taken["2@input"] < 0).any()
    assert not (taken["2"] < 0).any()


# Calls


def test_calls_can_be_chosen_one_by_one() -> None:
    every = take(Twice())
    for layers, names in [
        (["relu#1"], ["relu#1"]),
        ("relu#*", ["relu#0", "relu#1"]),
        ("*#1", ["relu#1"]),
        (["relu#1", "relu"], ["relu#0", "relu#1"]),
    ]:
        taken = take(Twice(), layers)
        assert list(taken) == names
        for name in names:
            assert torch.equal(taken[name], every[name])


def test_a_reduction_hears_the_name_that_was_chosen() -> None:
    heard: list[str] = []

    def reduce(name: str, x: Tensor) -> int:
        heard.append(name)
        return len(heard)

    with Capture(Twice(), list(trace(Twice(), IMAGES)), reduce=reduce) as capture:
        capture.model(IMAGES)
        assert capture.take() == {"relu#0": 1, "relu#1": 2}
    assert heard == ["relu#0", "relu#1"]
    heard.clear()
    with Capture(network(), "2,type:ReLU", reduce=reduce) as capture:
        capture.model(IMAGES)
        capture.take()
    assert heard == ["2"]  # once, though chosen twice
    with Capture(network(), ["2#0"]) as capture:
        capture.model(IMAGES)
        assert list(capture.take()) == ["2#0"]  # as asked, though there is no other call


def test_calls_are_counted_anew_after_each_take() -> None:
    with Capture(Twice()) as capture:
        for _ in range(2):
            capture.model(IMAGES)
            assert list(capture.take()) == ["relu#0", "relu#1"]


def test_a_call_that_never_comes_is_named() -> None:
    with pytest.raises(
        CaptureError, match=r"'relu#2' was not called: the forward calls it 2 times"
    ):
        take(Twice(), ["relu#2"])


# Outputs that are no tensors


@dataclass
class Found:
    logits: Tensor
    hidden: tuple[Tensor, ...]
    name: str = "found"
    ids: Tensor | None = None


@dataclass
class ModelOutput(OrderedDict):  # type: ignore[type-arg]
    """As in transformers: a dataclass that is an ordered dictionary of what is not None."""

    last_hidden_state: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: Tensor | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) is not None:
                self[field.name] = getattr(self, field.name)


Pair = namedtuple("Pair", ["a", "b"])
X = torch.ones(4, 3)


@pytest.mark.parametrize(
    ("output", "paths"),
    [
        ((X, (2 * X, [3 * X])), {"0": 1, "1.0": 2, "1.1.0": 3}),
        ({"x": X, "y": {"z": 2 * X}, 3: 3 * X}, {"x": 1, "y.z": 2, "3": 3}),
        (Found(X, (2 * X, 3 * X), ids=X.long()), {"logits": 1, "hidden.0": 2, "hidden.1": 3}),
        (ModelOutput(X, (2 * X,)), {"last_hidden_state": 1, "hidden_states.0": 2}),
        (Pair(X, 2 * X), {"a": 1, "b": 2}),
        ([None, "text", X.long(), X.bool(), 7, X], {"5": 1}),
        (nn.utils.rnn.pack_padded_sequence(X[..., None], torch.tensor([4, 4, 4])), {"data": 1}),
    ],
)
def test_floating_point_tensors_are_found_wherever_they_lie(
    output: Any, paths: dict[str, int]
) -> None:
    model = nn.Sequential(OrderedDict(m=Returns(lambda x: output)))
    taken = take(model, ["m"])
    assert list(taken) == [f"m:{path}" for path in paths]
    for path, value in paths.items():
        assert (taken[f"m:{path}"] == value).all()
        assert list(take(model, [f"m:{path}"])) == [f"m:{path}"]
    assert list(take(model)) == list(taken)


def test_a_path_chooses_what_lies_within_and_no_namesake() -> None:
    model = nn.Sequential(OrderedDict(m=Returns(lambda x: {"a": (X, X), "ab": X, "b": X})))
    assert list(take(model, ["m:a"])) == ["m:a.0", "m:a.1"]
    assert list(take(model, "m:a*")) == ["m:a.0", "m:a.1", "m:ab"]
    assert list(take(model, "*:b")) == ["m:b"]
    odd_keys = Returns(lambda x: {"a": X, "a.b": X, "c[0]": X, "c0": X})
    model = nn.Sequential(OrderedDict(m=odd_keys))
    assert list(take(model, ["m:a"])) == ["m:a"]
    assert list(take(model, ["m:c[0]"])) == ["m:c[0]"]
    model = nn.Sequential(OrderedDict(m=Returns(lambda x: {"a": (X, X), "ab": X, "b": X})))
    with pytest.raises(
        CaptureError, match=r"'m:c' gave no floating-point tensor there.*a\.0, a\.1"
    ):
        take(model, ["m:c"])


def test_what_has_no_rows_to_read_is_no_tensor() -> None:
    nested = torch.nested.nested_tensor([X, X])
    model = nn.Sequential(OrderedDict(m=Returns(lambda x: (X, nested, X.to_sparse()))))
    assert list(take(model)) == ["m:0"]


def test_modules_within_vmap_are_left_out_and_those_within_grad_are_read() -> None:
    each, end = nn.Linear(4, 6), nn.Linear(6, 3)

    def mapped(x: Tensor) -> Tensor:
        return torch.vmap(lambda row: each(row).tanh())(x)

    def forces(x: Tensor) -> Tensor:
        return torch.func.grad(lambda rows: each(rows).tanh().sum())(x)

    x = torch.randn(8, 4)
    inside = nn.Sequential(OrderedDict(m=Returns(mapped), end=end))
    inside.m.each = each
    with pytest.warns(RepsimWarning, match="'m.each' gave no dense tensor: it returns a vmapped"):
        taken = take(inside, "m.*,end", x)
    assert list(taken) == ["end"]
    assert torch.equal(taken["end"], end(mapped(x)))
    inside = nn.Sequential(OrderedDict(m=Returns(forces)))
    inside.m.each = each
    assert torch.equal(take(inside, ["m.each"], x)["m.each"], each(x))


@pytest.mark.parametrize("layers", ["end,m#[5]", "end,m:x*", "end,*:x"])
def test_a_glob_for_a_call_or_path_that_is_not_there_is_no_error(layers: str) -> None:
    model = nn.Sequential(OrderedDict(m=Returns(lambda x: (X, X)), end=Returns(lambda x: X)))
    with pytest.warns(RepsimWarning, match="left out"):
        assert list(take(model, layers)) == ["end"]


@pytest.mark.parametrize("output", [None, "text", X.long(), (None, [X.bool()])])
def test_a_module_without_a_floating_point_tensor_is_named_with_what_it_returns(
    output: Any,
) -> None:
    model = nn.Sequential(OrderedDict(m=Returns(lambda x: output), end=Returns(lambda x: X)))
    kind = "tensor of torch.int64" if isinstance(output, Tensor) else type(output).__name__
    with pytest.raises(
        CaptureError, match=f"'m' gave no floating-point tensor: it returns a {kind}"
    ):
        take(model, ["m"])
    with pytest.warns(RepsimWarning, match=f"'m' gave no.*{kind}"):
        assert list(take(model)) == ["end"]


@pytest.mark.parametrize(
    ("layer", "returned", "remedy"),
    [
        ("m:0", "a tensor of torch.float32", "say 'm'"),
        ("m:*", "a tensor of torch.float32", "say 'm'"),
        ("m#0:hidden", "a tensor of torch.float32", "say 'm#0'"),
        ("pair:1.0", "a tuple with 0, 1", "say 'pair:1'"),
    ],
)
def test_a_part_of_a_tensor_is_refused_with_the_address_of_the_tensor(
    layer: str, returned: str, remedy: str
) -> None:
    model = nn.Sequential(
        OrderedDict(pair=Returns(lambda x: (X, X + 1)), m=Returns(lambda x: X + 2))
    )
    message = f"layer '{layer}' gave no such part: it returns {returned}, so {remedy}"
    with pytest.raises(CaptureError, match=re.escape(message)):
        take(model, [layer])
    assert len(take(model, [remedy[5:-1]])) == 1


def test_a_part_of_what_a_bare_module_returns() -> None:
    x = torch.ones(5, 4, 3)
    with pytest.raises(CaptureError, match=r"wrap it, as in nn.Sequential\(network\), and say '0'"):
        take(nn.Linear(3, 2), [":0"], x)
    recurrent = nn.GRU(3, 2)
    with pytest.raises(UsageError, match=r"so no layer 'rnn'.* returns are ':0', ':1' and so on"):
        take(recurrent, ["rnn"])
    assert list(take(recurrent, [":0", ":1"], x)) == [":0", ":1"]


# Inputs


def attend(self: Any, x: Tensor) -> Tensor:
    return self.blend(x, 2 * x, mask=3 * x, flag=True) + self.only(ids=x.long(), x=4 * x)


def attention() -> Calls:
    return Calls(attend, blend=Returns(lambda a, b, mask, flag: a), only=Returns(lambda ids, x: x))


def test_inputs_are_chosen_by_position_and_by_name() -> None:
    x = torch.ones(2, 3)
    for layer, value in {
        "blend@input": 1,
        "blend@input:1": 2,
        "blend@input:mask": 3,
        "only@input": 4,
    }.items():
        taken = take(attention(), [layer], x)
        assert list(taken) == [layer]
        assert (taken[layer] == value).all(), layer
    assert list(take(attention(), "blend@input:*", x)) == [
        f"blend@input:{name}" for name in ("0", "1", "mask")
    ]
    assert list(take(attention(), "type:Returns@input", x)) == ["blend@input", "only@input"]
    with pytest.raises(CaptureError, match=r"'blend@input:bias' gave no.*with 0, 1, mask"):
        take(attention(), ["blend@input:bias"], x)


def test_inputs_of_each_call_and_of_the_network_itself() -> None:
    taken = take(Twice(), ["@input", "relu@input", "relu"])
    assert list(taken) == ["@input", "relu@input#0", "relu#0", "relu@input#1", "relu#1"]
    assert torch.equal(taken["@input"], IMAGES)
    assert torch.equal(taken["relu@input#1"], taken["relu#0"] - 1)


# Layers that give nothing


def spare(**modules: nn.Module) -> Calls:
    return Calls(lambda self, x: self.used(x), used=nn.ReLU(), **modules)


def test_all_named_layers_that_are_never_called_are_listed() -> None:
    model = spare(a=nn.ReLU(), b=nn.ReLU())
    with pytest.raises(CaptureError, match=r"layers 'a', 'b' were not called"):
        take(model, ["a", "used", "b"])


@pytest.mark.parametrize("layers", [None, "*", "type:ReLU", "depth:1"])
def test_layers_of_a_pattern_that_are_never_called_are_left_out_with_one_warning(
    layers: str | None,
) -> None:
    with (
        Capture(spare(a=nn.ReLU()), layers) as capture,
        warnings.catch_warnings(record=True) as seen,
    ):
        warnings.simplefilter("always")
        for _ in range(3):
            capture.model(IMAGES)
            assert list(capture.take()) == ["used"]
    assert [each.category for each in seen] == [RepsimWarning]
    assert "layer 'a' was not called" in str(seen[0].message)


def test_nothing_at_all_is_an_error() -> None:
    model = Calls(lambda self, x: x, a=nn.ReLU())
    with pytest.raises(CaptureError, match="nothing was captured: layer 'a' was not called"):
        take(model)
    with pytest.raises(CaptureError, match="nothing was captured"), Capture(network()) as capture:
        capture.take()
    with pytest.raises(UsageError, match=r"no layer was chosen of ReLU.*nn\.Sequential"):
        Capture(nn.ReLU())


def test_modules_that_cannot_run_are_no_layers() -> None:
    model = Calls(
        lambda self, x: self.blocks[0](x), blocks=nn.ModuleList([nn.ReLU()]), none=nn.ModuleList()
    )
    assert list(take(model)) == ["blocks.0"]
    assert list(take(model, "*")) == ["blocks.0"]
    with pytest.raises(CaptureError, match="'blocks' was not called"):
        take(model, ["blocks"])


# Choosing


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("type:Conv2d", ["0"]),
        ("type:*Norm*,type:Linear", ["1", "4"]),
        (["type:_ConvNd", "3"], ["0", "3"]),
        ("depth:1", ["0", "1", "2", "3", "4"]),
        ("[0-1]", ["0", "1"]),
        ("4,depth:1", ["0", "1", "2", "3", "4"]),
    ],
)
def test_layers_are_chosen_by_class_and_depth(layers: Any, names: list[str]) -> None:
    assert list(take(network(), layers)) == names
    found = repsim.compare(network(), network(), IMAGES.split(8), layers_a=layers)
    assert list(found.layers_a) == names


def test_class_and_depth_look_at_all_modules_where_a_network_names_its_layers() -> None:
    from repsim.networks import ResNet

    model, images = ResNet(3, 10, 4), torch.randn(2, 3, 32, 32)
    convolutions = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    assert sorted(take(model, "type:Conv2d", images)) == sorted(convolutions)
    assert list(take(model, "depth:1", images)) == [n for n, _ in model.named_children()]
    assert list(take(model, images=images)) == model.layer_names()
    assert list(take(model, "bg1.*", images)) == ["bg1.b0.odd", "bg1.b0.even"]
    assert "bg1.b0.residual" in take(model, "bg1.b0.re*", images)  # none among its own
    assert list(take(model, "odd", images)) == [n for n in model.layer_names() if "odd" in n]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("type:Conv3d", r"no layer of 'type:Conv3d'; did you mean 'Conv2d'"),
        ("depth:4", "no layer at 'depth:4'; it ends at depth:1"),
        ("depth:x", "'depth:x' is no depth"),
        ("Linear", "for the class, say type:Linear"),
        ("0,", "no layer ''"),
        ([], "no layer was chosen"),
    ],
)
def test_a_choice_that_cannot_be_says_what_could(layers: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Capture(network(), layers)


def test_names_with_the_signs_of_addresses_in_them_are_still_names() -> None:
    inner = nn.ModuleDict(
        {"a:b": nn.ReLU(), "type:ReLU": nn.Tanh(), "x#1": Returns(lambda x: (x, x))}
    )
    model = Calls(lambda self, x: [each(x) for each in self.d.values()], d=inner)
    assert list(take(model, ["d.a:b", "d.x#1:1"])) == ["d.a:b", "d.x#1:1"]
    traced = list(trace(model, IMAGES))
    assert traced == ["d.a:b", "d.type:ReLU", "d.x#1:0", "d.x#1:1"]
    assert list(take(model, traced)) == traced


@pytest.mark.parametrize("text", ["relu", "relu#1", "lstm:1.0", "head@input#2:mask", "e.3:a#b@c"])
def test_addresses_are_taken_apart_and_put_together(text: str) -> None:
    assert str(Address.parse(text)) == text


RECORDED = ["lstm:0", "lstm:1.0", "relu#0", "relu#1", "head@input", "head", "b.odd#0"]


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ("lstm", ["lstm:0", "lstm:1.0"]),
        ("lstm:1", ["lstm:1.0"]),
        ("relu", ["relu#0", "relu#1"]),
        ("*#1", ["relu#1"]),
        ("head", ["head"]),
        ("*@input", ["head@input"]),
        ("odd", ["b.odd#0"]),
        ("depth:2", ["b.odd#0"]),
        ("all", RECORDED),
        ("type:GRU", ["lstm:0"]),
    ],
)
def test_what_was_recorded_is_chosen_by_the_same_patterns(patterns: str, chosen: list[str]) -> None:
    assert select_layers(RECORDED, patterns, kinds={"lstm:0": ["LSTM", "GRU"]}) == chosen


def test_classes_are_unknown_where_only_names_are() -> None:
    with pytest.raises(UsageError, match="a does not say of what class its layers are"):
        select_layers(RECORDED, "type:GRU", of="a")


# Wrappers


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def wrapped(kind: str, model: nn.Module) -> nn.Module:
    if kind == "parallel":
        return nn.DataParallel(model)
    if kind == "distributed":
        return nn.parallel.DistributedDataParallel(model)
    if kind == "compiled":
        return torch.compile(model, backend="eager")  # type: ignore[return-value]
    from lightning_fabric import Fabric

    return Fabric(accelerator="cpu", devices=1).setup_module(model)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kinds",
    [
        ["parallel"],
        ["distributed"],
        ["compiled"],
        ["fabric"],
        ["compiled", "distributed"],
        ["distributed", "compiled", "parallel"],
    ],
    ids="-".join,
)
def test_wrappers_are_seen_through(kinds: list[str], process_group: None) -> None:
    inner = network()
    model: nn.Module = inner
    expected = take(inner)
    for kind in kinds:
        model = wrapped(kind, model)
    model.train()
    model(IMAGES)  # compiled code, if any, is there before the hooks
    inner.load_state_dict(network().state_dict())  # as before that step
    assert unwrap(model) is inner
    assert list(trace(model, IMAGES)) == list(expected)
    taken = take(model)
    assert list(taken) == list(expected)
    for name in taken:
        torch.testing.assert_close(taken[name], expected[name], rtol=0, atol=0)
    assert list(take(model, ["2"])) == list(take(model, "type:ReLU")) == ["2"]
    assert inner.training
    found = repsim.compare(model, inner, IMAGES.split(8))
    assert (found.layers_a, found.name_a) == (found.layers_b, "Sequential")


@pytest.mark.slow
def test_a_compiled_part_is_seen_through_and_stays_compiled() -> None:
    compiled: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    model = nn.Sequential(OrderedDict(body=torch.compile(body, backend=backend), flat=nn.Flatten()))
    in_place = nn.Sequential(nn.ReLU())
    in_place.compile(backend=backend)
    model.add_module("late", in_place)
    with torch.no_grad():
        model.eval()(IMAGES)
        graphs = len(compiled)
        assert graphs
        assert list(take(model)) == ["body.0", "body.1", "flat", "late.0"]
        assert list(take(model, "body")) == ["body"]
        model(IMAGES)
    assert len(compiled) == graphs
    assert torch._dynamo.eval_frame._stance.stance == "default"


def test_a_batch_scattered_over_devices_is_refused_in_one_line() -> None:
    model = nn.DataParallel(network())
    model.device_ids = [0, 1]
    with pytest.raises(CaptureError, match=r"over 2 devices.*call unwrap\(model\)"):
        take(model)
    with Capture(model) as capture:
        unwrap(model)(IMAGES)
        assert len(capture.take()) == 5
    assert not model._forward_pre_hooks


def test_a_scripted_network_is_refused_and_a_scripted_part_left_out() -> None:
    scripted = torch.jit.script(network())
    for model in (scripted, nn.DataParallel(scripted)):
        with pytest.raises(CaptureError, match="ScriptModule, which takes no hooks"):
            Capture(model)
    traced = torch.jit.trace(network().eval(), IMAGES)
    with pytest.raises(CaptureError, match="ScriptModule"):
        trace(traced, IMAGES)
    mixed = nn.Sequential(OrderedDict(body=scripted, head=nn.ReLU()))
    with pytest.raises(CaptureError, match="'body' cannot be hooked: torch.jit compiled it"):
        take(mixed, ["body", "head"])
    with pytest.warns(RepsimWarning, match="'body' cannot be hooked"):
        assert list(take(mixed, "depth:1")) == ["head"]


# The network is left as it was


def test_hooks_of_the_user_stay_and_are_seen() -> None:
    model = network()
    seen: list[int] = []
    model[0].register_forward_hook(lambda m, i, o: seen.append(1) or 2 * o)
    model[2].register_forward_pre_hook(lambda m, i: (i[0] + 5,))
    taken = take(model, ["0", "1", "2@input"])
    torch.testing.assert_close(taken["0"], 2 * take(network(), ["0"])["0"], rtol=0, atol=0)
    torch.testing.assert_close(taken["2@input"], taken["1"] + 5, rtol=0, atol=0)
    model(IMAGES)
    assert len(seen) == 2
    assert len(model[0]._forward_hooks) == len(model[2]._forward_pre_hooks) == 1


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_a_block_that_cannot_begin_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no more hooks")

    monkeypatch.setattr(model[3], "register_forward_hook", fail)
    with pytest.raises(RuntimeError, match="no more hooks"):
        Capture(model, ["0@input", "0", "3"]).__enter__()
    assert hooks(model) == 0
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_failing_forward_leaves_no_hook_on_inputs_either() -> None:
    model = network()
    with pytest.raises(RuntimeError), Capture(model, ["0@input", "4@input", "4"]):
        assert hooks(model) == 3
        model(torch.randn(2, 7, 8, 8))
    assert hooks(model) == 0
    assert model.training
    assert torch.is_grad_enabled()


def test_what_networks_do_when_modes_change_is_done_and_undone() -> None:
    class Merging(nn.Linear):
        merged = False

        def train(self, mode: bool = True) -> Any:  # as LoRA layers merge their weights
            if self.merged == mode:
                self.merged = not mode
                self.weight.data += -1 if mode else 1
            return super().train(mode)

    model, x = nn.Sequential(Merging(8, 4), nn.Dropout(0.5)), torch.randn(2, 8)
    before = model[0].weight.detach().clone()
    with Capture(model) as capture:
        model(x)
        found = capture.take()["0"]
    torch.testing.assert_close(found, nn.functional.linear(x, before + 1, model[0].bias))
    assert torch.equal(model[0].weight, before)
    assert not model[0].merged
    assert all(module.training for module in model.modules())


def test_what_a_network_caches_can_be_trained_with_afterwards() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)
            self.cache: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            if self.cache is None:
                self.cache = torch.ones(8) * 2
            return self.linear(x) * self.cache

    model = Caching()
    taken = take(model)
    assert not taken["linear"].requires_grad
    (nn.Linear(8, 2)(taken["linear"]).sum() + model(IMAGES).sum()).backward()


def test_no_graph_is_kept_where_a_network_wants_gradients() -> None:
    def forces(self: Any, x: Tensor) -> Tensor:
        with torch.enable_grad():
            return self.conv(x)

    assert not take(Calls(forces, conv=nn.Conv2d(3, 4, 3)))["conv"].requires_grad


class Noisy(nn.Module):
    """Draws a sample in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + torch.randn_like(x))


def test_random_numbers_are_those_of_the_forward_alone() -> None:
    torch.manual_seed(5)
    expected = Noisy()(IMAGES)
    torch.manual_seed(5)
    trace(Noisy(), IMAGES)
    assert torch.equal(take(Noisy())["act"], expected)
    model, state = network(), torch.get_rng_state()
    with Capture(model) as capture:
        capture.model(IMAGES)
        capture.take()
    assert torch.equal(torch.get_rng_state(), state)


def test_transformer_layers_run_module_by_module() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2)
    x, mask = torch.randn(3, 4, 8), torch.zeros(3, 4, dtype=torch.bool)
    mask[0, 3] = True
    with Capture(model, ["layers.0"]) as capture:
        model(x, src_key_padding_mask=mask)
        alone = capture.take()["layers.0"]
    with Capture(model, "layers.0,layers.0.linear1") as capture:
        model(x, src_key_padding_mask=mask)
        beside = capture.take()["layers.0"]
    assert alone.shape == (3, 4, 8)  # not a nested tensor
    assert torch.equal(alone, beside)
    assert "layers.1.self_attn" in default_layers(model)
    assert not any("out_proj" in name for name in default_layers(model))


# Shared modules and parameters


def tied() -> Calls:
    shared = nn.Linear(8, 8)
    return Calls(
        lambda self, x: self.decoder[0](self.encoder[0](x) + 1),
        encoder=nn.Sequential(shared),
        decoder=nn.Sequential(shared),
    )


def test_a_module_with_two_addresses_is_recorded_under_its_first() -> None:
    names = ["encoder.0#0", "encoder.0#1"]
    for layers in (None, ["encoder.0"], ["decoder.0"], "decoder.*", "decoder.0,encoder.0"):
        assert list(take(tied(), layers)) == names
    assert list(take(tied(), ["decoder.0#1"])) == ["encoder.0#1"]
    assert list(trace(tied(), IMAGES)) == names
    assert default_layers(tied()) == ["encoder.0"]


def test_modules_that_share_a_parameter_are_layers_of_their_own() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].weight = model[0].weight
    assert list(take(model)) == ["0", "1"]


def test_a_parametrized_layer_is_one_and_its_parametrization_none() -> None:
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(8, 8)), nn.ReLU())
    assert list(take(model)) == ["0", "1"]
    assert list(take(model, "type:Linear")) == ["0"]
    assert list(take(model, "*")) == ["0", "1"]


def test_a_module_that_holds_the_one_it_lies_in_does_not_loop() -> None:
    model = network()
    model[0].owner = model
    assert default_layers(model) == list(take(model)) == ["0", "1", "2", "3", "4"]


# Tracing and planning


def test_a_trace_says_what_would_be_recorded() -> None:
    model = nn.Sequential(
        OrderedDict(rnn=nn.LSTM(8, 4, batch_first=True), out=Returns(lambda x: x[0]))
    )
    model = model.double()
    traced = trace(model, torch.randn(5, 3, 8).double(), "out,rnn,rnn@input")
    assert traced == {
        "rnn@input": Traced("LSTM", (5, 3, 8), torch.float64),
        "rnn:0": Traced("LSTM", (5, 3, 4), torch.float64),
        "rnn:1.0": Traced("LSTM", (1, 5, 4), torch.float64),
        "rnn:1.1": Traced("LSTM", (1, 5, 4), torch.float64),
        "out": Traced("Returns", (5, 3, 4), torch.float64),
    }
    assert hooks(model) == 0


@pytest.mark.parametrize(
    "model", [network(), Twice(), Recurrent(2), Noisy()], ids=lambda m: str(m)[:9]
)
@pytest.mark.parametrize("layers", [None, "all", "depth:1", "*,*@input"])
def test_what_was_traced_is_captured_under_the_same_names(
    model: nn.Module, layers: str | None
) -> None:
    names = list(trace(model, IMAGES, layers))
    heard: list[str] = []
    with Capture(model, names, reduce=lambda name, x: heard.append(name)) as capture:
        model(IMAGES)
        assert list(capture.take(names)) == names
    assert heard == names


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_trace_of_rows_has_only_what_has_a_row_for_each_example(depth: int) -> None:
    model = Recurrent(depth)
    with pytest.warns(RepsimWarning, match=r"no row for each of 3 examples in 'rnn:1'"):
        assert list(trace_rows(model, IMAGES)) == ["rnn:0"]
    with pytest.warns(RepsimWarning, match=r"'rnn:1'"):
        assert list(trace_rows(model, IMAGES, ["rnn"])) == ["rnn:0"]
    with pytest.raises(CaptureError, match=r"no row for each of 16 examples in 'rnn:1'"):
        trace_rows(model, IMAGES, ["rnn", "rnn:1"])
    assert list(trace_rows(model, IMAGES, ["rnn:0"])) == ["rnn:0"]
    with pytest.warns(RepsimWarning, match=r"'rnn:1'"):
        assert list(trace_rows(model, IMAGES, ["rnn:0", "*:1"])) == ["rnn:0"]
    with pytest.warns(RepsimWarning):
        found = repsim.compare(model, model, IMAGES.split(8))
    assert found.layers_a == ("rnn:0",)


def test_a_trace_of_rows_falls_back_to_the_whole_batch() -> None:
    def fixed(self: Any, x: Tensor) -> Tensor:
        return self.act(x.view(16, 192))

    model = Calls(fixed, act=nn.ReLU())
    assert trace_rows(model, IMAGES)["act"].shape == (16, 192)
    with pytest.raises(CaptureError, match=r"does not run on .*inputs \(8, 3, .*shape"):
        trace_rows(model, IMAGES[:8])


def test_a_trace_of_rows_looks_at_few_examples_and_leaves_random_numbers_alone() -> None:
    sizes: list[int] = []
    model = nn.Sequential(Noisy())
    model[0].register_forward_pre_hook(lambda m, args: sizes.append(len(args[0])))
    state = torch.get_rng_state()
    assert trace_rows(model, IMAGES)["0.act"].shape == (3, 3, 8, 8)
    assert sizes == [3, 2]
    assert torch.equal(torch.get_rng_state(), state)
    assert list(trace_rows(model, IMAGES[:1])) == ["0.act"]


def test_layers_that_come_and_go_are_an_error_and_no_gap() -> None:
    def moody(self: Any, x: Tensor) -> Tensor:
        return self.act(self.act(x) if len(x) > 8 else x)

    model = Calls(moody, act=nn.ReLU())
    with pytest.raises(
        CaptureError, match="same layers for every batch: 'act', 'act#0', 'act#1' came or went"
    ):
        repsim.compare(model, model, [IMAGES[:8], IMAGES])


# Comparing what loaders really give


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 6)
        self.norm = nn.LayerNorm(6)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> ModelOutput:
        assert attention_mask is not None
        x = self.norm(self.embed(input_ids)) * attention_mask[..., None]
        return ModelOutput(x, (x, x))


def test_compare_takes_dictionaries_and_arrays() -> None:
    ids = torch.randint(10, (16, 5))
    loader = [
        {
            "input_ids": part,
            "attention_mask": torch.ones_like(part),
            "labels": part,
            "text": ["a"] * 8,
        }
        for part in ids.split(8)
    ]
    with pytest.warns(RepsimWarning, match="Text does not take 'text': left out of its arguments"):
        found = repsim.compare(Text(), Text(), loader)
    assert (found.layers_a, found.n) == (("embed", "norm"), 16)
    tensors = repsim.compare(network(), network(), IMAGES.split(8))
    arrays = repsim.compare(
        network(), network(), [part.double().numpy() for part in IMAGES.split(8)]
    )
    np.testing.assert_array_equal(arrays.unbiased, tensors.unbiased)


def test_compare_reads_a_loader_once() -> None:
    found = repsim.compare(network(), network(), (part for part in IMAGES.split(8)))
    assert found.n == 16
