"""Networks from anywhere, their arguments and their weights."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from libraries import TINY_BERT, TINY_VIT, library, working_transformers
from torch import nn

from repsim.errors import RepsimWarning, StoreError, UsageError
from repsim.networks.external import load_network, parse_arguments
from repsim.networks.weights import load_weights, network_digest
from repsim.optional import optional

MODULE = """
import torch
from torch import nn

shared = nn.Linear(2, 2)  # draws random numbers when the module is imported
number = 3

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc = nn.Linear(3, width)
        self.drop = nn.Dropout()

    def forward(self, x):
        return self.drop(self.fc(x))

    @classmethod
    def wide(cls, factor=1):
        return cls(8 * factor)

def make(width=4):
    import helpers_of_mine
    return Net(width)

def nothing():
    return {"a": 1}

def broken():
    raise ValueError("two\\nlines")
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's, in the current directory."""
    (tmp_path / "nets_of_mine.py").write_text(MODULE)
    (tmp_path / "helpers_of_mine.py").write_text("")
    (tmp_path / "broken_of_mine.py").write_text("import missing_of_mine")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield "nets_of_mine"
    assert sys.path == path
    for name in ("nets_of_mine", "helpers_of_mine", "broken_of_mine"):
        sys.modules.pop(name, None)


@pytest.fixture
def net() -> nn.Module:
    """A small network with parameters, and buffers of two types."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def fresh() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


# --- networks of one's own


def test_a_function_a_class_and_a_method_of_the_current_directory(mine: str) -> None:
    network = load_network(f"{mine}:make", arguments={"width": 5})
    assert network.fc.out_features == 5
    assert not network.training
    assert load_network(f"{mine}:Net").fc.out_features == 4
    assert load_network(f"{mine}:Net.wide", arguments={"factor": 2}).fc.out_features == 16


def test_installed_modules_are_found_too() -> None:
    network = load_network("torch.nn:Linear", arguments={"in_features": 2, "out_features": 3})
    assert isinstance(network, nn.Linear)


def test_initialisation_follows_the_seed_and_leaves_the_generator_alone(mine: str) -> None:
    state = torch.get_rng_state()
    first, second, other = (load_network(f"{mine}:Net", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert network_digest(first) == network_digest(second) != network_digest(other)
    torch.manual_seed(1)
    assert torch.equal(nn.Linear(3, 4).weight, first.fc.weight)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("resnet18", "cannot be read; write PACKAGE.MODULE:FUNCTION"),
        (":make", "cannot be read"),
        ("timm:", "cannot be read"),
        ("models/mine.py:make", "without slashes"),
        ("no_such_module_x:make", "no module 'no_such_module_x' on Python's path or in"),
        ("nets_of_mine.sub:make", "no module 'nets_of_mine.sub'"),
        ("broken_of_mine:make", r"broken_of_mine cannot be imported \(ModuleNotFoundError: No mod"),
        ("nets_of_mine:mkae", "has no 'mkae'; did you mean make"),
        ("nets_of_mine:Net.tall", "has no 'Net.tall'"),
        ("nets_of_mine:number", "is a value of type int; expected a function or class"),
        ("nets_of_mine:shared", "is a value of type Linear; expected a function or class"),
        ("nets_of_mine:nothing", "returned a value of type dict; expected a torch.nn.Module"),
        ("nets_of_mine:broken", r"cannot be made \(ValueError: two\)"),
        ("no_such_module_x:make.\n", "cannot be read"),
    ],
)
def test_a_wrong_reference_is_answered_in_one_line(mine: str, reference: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_network(reference)
    assert "\n" not in str(caught.value)


def test_arguments_that_do_not_fit_are_named(mine: str) -> None:
    with pytest.raises(UsageError, match=r'made with \{"depth": 3\} .*unexpected keyword'):
        load_network(f"{mine}:make", arguments={"depth": 3})


# --- arguments


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}),
        ('{"num_classes": 10, "layers": [1, 2]}', {"num_classes": 10, "layers": [1, 2]}),
        ("num_classes=10", {"num_classes": 10}),
        ("a=1, b=0.5,c=relu", {"a": 1, "b": 0.5, "c": "relu"}),
        ("a=true,b=False", {"a": True, "b": False}),
        ('a=None,b=null,c="1"', {"a": None, "b": None, "c": "1"}),
        ("path=a=b", {"path": "a=b"}),
    ],
)
def test_arguments_are_json_or_pairs(text: str, arguments: dict[str, Any]) -> None:
    assert parse_arguments(text) == arguments


@pytest.mark.parametrize(
    "text", ['{"a": }', "{", "[1]", "10", "a", "a=1,", "a=1,a=2", "a=[1,2]", "1a=2", "a-b=3"]
)
def test_other_arguments_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be read .*write JSON such as .*num_classes=10"):
        parse_arguments(text)


@given(st.text(max_size=30))
def test_any_text_gives_arguments_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert isinstance(parse_arguments(text), dict)


# --- libraries


def test_nothing_is_imported_before_it_is_named() -> None:
    code = (
        "import sys, repsim, repsim.networks.external, repsim.data.text, repsim.data.preprocessing;"
        "print([n for n in ('torchvision', 'timm', 'transformers', 'safetensors') "
        "if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["torchvision", "timm", "transformers"])
def test_an_absent_library_is_named_with_its_remedy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [*sys.modules]:
        if module.partition(".")[0] == name:
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Hidden(name), *sys.meta_path])
    with pytest.raises(UsageError, match=f"^{name} is not installed; try: pip install {name}"):
        load_network(f"{name}:anything")


class Hidden:
    """Finds nothing of a package, and lets no one else look."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, module: str, path: Any = None, target: Any = None) -> None:
        if module.partition(".")[0] == self.name:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import gone_of_mine.sub", "fake_of_mine needs gone_of_mine, which is not installed; try"),
        ("raise RuntimeError('no kernel\\nhere')", r"imported \(RuntimeError: no kernel\)$"),
        (
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "the torchvision installed does not fit this torch: take both from one place",
        ),
    ],
)
def test_a_library_that_does_not_import_is_one_line(
    content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fake_of_mine.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        optional("fake_of_mine")
    assert "\n" not in str(caught.value)


def test_torchvision_gives_random_weights_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def builder(*, weights: Any = "best", weights_backbone: Any = "best", **rest: Any) -> nn.Module:
        asked.update(rest, weights=weights, weights_backbone=weights_backbone)
        return nn.Linear(2, 2)

    models = SimpleNamespace(
        list_models=lambda: ["fcn_resnet50"], get_model_builder=lambda name: builder
    )
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    load_network("torchvision:fcn_resnet50", arguments={"num_classes": 3})
    assert asked == {"num_classes": 3, "weights": None, "weights_backbone": None}
    load_network("torchvision:fcn_resnet50", arguments={"weights": "DEFAULT"})
    assert asked["weights"] == "DEFAULT"
    with pytest.raises(UsageError, match="no network 'fcn_resnet5'; did you mean fcn_resnet50"):
        load_network("torchvision:fcn_resnet5")


def test_timm_gives_random_weights_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def create_model(name: str, pretrained: bool = True, **rest: Any) -> nn.Module:
        asked.append((name, pretrained, rest))
        return nn.Linear(2, 2)

    timm = SimpleNamespace(
        create_model=create_model,
        is_model=lambda name: name.startswith("vit."),
        list_models=lambda: ["vit"],
    )
    monkeypatch.setitem(sys.modules, "timm", timm)
    load_network("timm:vit.tag", arguments={"num_classes": 3})
    load_network("timm:vit", arguments={"pretrained": True})
    assert asked == [("vit.tag", False, {"num_classes": 3}), ("vit", True, {})]
    with pytest.raises(UsageError, match="timm has no network 'vitt'; did you mean vit"):
        load_network("timm:vitt")


def test_torchvision_itself() -> None:
    library("torchvision.models")
    network = load_network("torchvision:resnet18", arguments={"num_classes": 3})
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    with pytest.raises(UsageError, match="did you mean resnet18"):
        load_network("torchvision:resnet19")


def test_timm_itself() -> None:
    library("timm")
    network = load_network("timm:test_vit", arguments={"num_classes": 3})
    assert network(torch.zeros(1, 3, 160, 160)).shape == (1, 3)
    with pytest.raises(UsageError, match="did you mean test_vit"):
        load_network("timm:tst_vit")


@pytest.fixture
def transformers() -> ModuleType:
    return working_transformers()


@pytest.mark.parametrize(
    ("kind", "arguments", "inputs"),
    [
        ("bert", TINY_BERT, torch.zeros(2, 7, dtype=torch.int64)),
        ("vit", TINY_VIT, torch.zeros(2, 3, 32, 32)),
    ],
)
def test_a_model_type_is_initialised_by_its_configuration(
    transformers: ModuleType, kind: str, arguments: dict[str, Any], inputs: torch.Tensor
) -> None:
    first, again, other = (
        load_network(f"transformers:{kind}", arguments=arguments, seed=seed) for seed in (0, 0, 1)
    )
    assert network_digest(first) == network_digest(again) != network_digest(other)
    with torch.no_grad():
        assert first(inputs).last_hidden_state.shape[::2] == (2, 32)


def test_a_folder_of_transformers_is_read_as_it_was_saved(
    transformers: ModuleType, tmp_path: Path
) -> None:
    network = load_network("transformers:bert", arguments=TINY_BERT)
    network.save_pretrained(tmp_path / "saved")
    again = load_network(f"transformers:{tmp_path / 'saved'}", seed=5)
    assert network_digest(again) == network_digest(network)
    state = tmp_path / "saved" / "model.safetensors"
    random = load_network("transformers:bert", arguments=TINY_BERT, seed=5, weights=state)
    assert network_digest(random) == network_digest(network)


def test_a_class_of_transformers_has_its_head(transformers: ModuleType, tmp_path: Path) -> None:
    kind, place = "transformers.ViTForImageClassification", str(tmp_path / "vit")
    made = load_network(f"{kind}:vit", arguments={**TINY_VIT, "num_labels": 3})
    made.save_pretrained(place)
    assert network_digest(load_network(f"{kind}:{place}", seed=5)) == network_digest(made)
    with pytest.warns(RepsimWarning) as caught:
        bare = load_network(f"transformers:{place}")
    assert type(bare).__name__ == "ViTModel"
    assert str(caught[0].message) == (
        f"{place} has no weights for pooler.dense.bias, pooler.dense.weight of ViTModel, which are "
        f"random; for the ViTForImageClassification that was saved say {kind}:{place}"
    )
    for name, message in (
        ("ViTForImagClassification", "did you mean ViTForImageClassification"),
        ("CONFIG_MAPPING", "transformers has no class"),
    ):
        with pytest.raises(UsageError, match=message):
            load_network(f"transformers.{name}:vit")


def test_a_type_with_the_name_of_a_folder_is_told(
    transformers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved = load_network("transformers:bert", arguments=TINY_BERT)
    saved.save_pretrained("bert")
    with pytest.warns(RepsimWarning, match=r"^bert is a type .* say \./bert$"):
        load_network("transformers:bert", arguments=TINY_BERT, seed=5)
    assert network_digest(load_network("transformers:./bert")) == network_digest(saved)


def test_weights_of_transformers_that_are_whole_are_no_remark(
    transformers: ModuleType,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    load_network("transformers:bert", arguments=TINY_BERT).save_pretrained(tmp_path)
    verbosity = transformers.utils.logging.get_verbosity()
    load_network(f"transformers:{tmp_path}")
    assert not [each for each in recwarn if each.category is RepsimWarning]
    assert "LOAD REPORT" not in capfd.readouterr().err
    assert transformers.utils.logging.get_verbosity() == verbosity


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("brt", "transformers has no network 'brt'; did you mean bert"),
        ("./nowhere", r"^./nowhere: no such folder"),
        ("/no/where", "^/no/where: no such folder"),
    ],
)
def test_a_wrong_name_of_transformers(transformers: ModuleType, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_network(f"transformers:{name}")


def test_a_folder_without_a_model_is_one_line(transformers: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be made") as caught:
        load_network(f"transformers:{tmp_path}")
    assert "\n" not in str(caught.value)


# --- weights


def checkpoint(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {0: {"m": 1}}}},
        lambda state: {"model": state, "ema": {"x": torch.zeros(1)}},
        lambda state: {"model_state_dict": state},
        lambda state: {"networks": {"encoder": state, "head": {"w": torch.zeros(2)}}},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"model": {f"module._orig_mod.{key}": v for key, v in state.items()}},
        lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}},
    ],
    ids=["plain", "state_dict", "model", "model_state_dict", "networks", "module", "two", "nested"],
)
def test_weights_are_found_where_programs_put_them(
    wrap: Callable[[Any], Any], net: nn.Module, tmp_path: Path
) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(checkpoint(wrap(net.state_dict())))
    other = fresh()
    load_weights(other, file)
    assert network_digest(other) == network_digest(net)


def test_load_network_takes_weights(net: nn.Module, tmp_path: Path) -> None:
    torch.save(net[3].state_dict(), tmp_path / "w.pt")
    loaded = load_network(
        "torch.nn:Linear",
        arguments={"in_features": 4, "out_features": 2},
        weights=tmp_path / "w.pt",
    )
    assert network_digest(loaded) == network_digest(net[3])


def test_safetensors(net: nn.Module, tmp_path: Path) -> None:
    library("safetensors.torch").save_file(net.state_dict(), tmp_path / "w.safetensors")
    other = fresh()
    load_weights(other, tmp_path / "w.safetensors")
    assert network_digest(other) == network_digest(net)


def refused(network: nn.Module, file: Path | str, match: str) -> None:
    """Weights are refused with this message, and the network is left as it was."""
    before = network_digest(network)
    with pytest.raises(StoreError, match=match):
        load_weights(network, file)
    assert network_digest(network) == before


def test_names_that_do_not_fit_are_counted_and_some_named(net: nn.Module, tmp_path: Path) -> None:
    state = dict(net.state_dict())
    for key in [key for key in state if key.startswith("1.")]:
        state[f"bn.{key}"] = state.pop(key)
    torch.save(state, tmp_path / "w.pt")
    refused(
        fresh(),
        tmp_path / "w.pt",
        r"fit Sequential: 5 missing \(1\.weight, 1\.bias, 1\.running_mean, \.\.\.\); "
        r"5 unexpected \(bn\.1\.weight, ",
    )


def test_shapes_that_do_not_fit_are_shown(net: nn.Module, tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in net.state_dict().items()}
    state["module.3.weight"] = torch.zeros(10, 4)
    torch.save(state, tmp_path / "w.pt")
    refused(
        fresh(),
        tmp_path / "w.pt",
        r"1 of another shape \(3\.weight: \(10, 4\) in the file, \(2, 4\) in the network\)",
    )


def test_several_weights_that_fit_are_not_chosen_from(net: nn.Module, tmp_path: Path) -> None:
    torch.save({"networks": {"a": net.state_dict(), "b": net.state_dict()}}, tmp_path / "w.pt")
    refused(
        fresh(),
        tmp_path / "w.pt",
        r"fit under networks\.a and networks\.b; say which, as in w\.pt:networks\.a$",
    )


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], torch.zeros(3), {"model": 3}])
def test_a_file_without_weights(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    refused(fresh(), tmp_path / "w.pt", "holds no weights; expected a dict of names to tensors")


def without_counts(state: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def below(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{key}": value for key, value in state.items()}


def other_values(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value + 1 for key, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        without_counts,
        lambda state: {"state_dict": below("module", without_counts(state))},
        lambda state: {key.replace(".", "._orig_mod.", 1): v for key, v in state.items()},
        lambda state: {key.replace(".", ".module._orig_mod.", 1): v for key, v in state.items()},
        lambda state: {"n_averaged": torch.tensor(7), **below("module", state)},
        lambda state: {"epoch": 3, **state},
        *(
            lambda state, key=key: {key: state, "epoch": 3}
            for key in ("teacher", "model_ema", "net", "state_dict_ema", "generator")
        ),
        lambda state: {"ckpt": {"deep": {"teacher": below("backbone", state)}}},
        lambda state: {**state, "1.num_batches_tracked": torch.tensor(99.5)},
    ],
)
def test_weights_that_torch_or_a_person_would_load_are_loaded(
    wrap: Callable[[Any], Any], net: nn.Module, tmp_path: Path
) -> None:
    torch.save(wrap(net.state_dict()), tmp_path / "w.pt")
    other = fresh()
    load_weights(other, tmp_path / "w.pt")
    inputs = torch.randn(3, 1, 3, 3)
    torch.testing.assert_close(other.eval()(inputs), net.eval()(inputs), rtol=0, atol=0)


def test_counts_may_be_absent_in_a_state_dict_of_today(net: nn.Module, tmp_path: Path) -> None:
    """torch fills them in of old versions only, and notes the version in the state dict."""
    state = net.state_dict()
    del state["1.num_batches_tracked"]
    assert state._metadata["1"]["version"] == 2
    torch.save(state, tmp_path / "w.pt")
    load_weights(fresh(), tmp_path / "w.pt")


def test_a_compiled_network_takes_weights_of_a_plain_one(net: nn.Module, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "w.pt")
    other = nn.DataParallel(fresh())
    load_weights(other, tmp_path / "w.pt")
    assert network_digest(other.module) == network_digest(net)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weight_norm_becomes_a_parametrisation(tmp_path: Path) -> None:
    def network(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
        return nn.Sequential(norm(nn.Linear(3, 4)), nn.ReLU(), norm(nn.Linear(4, 2, bias=False)))

    old = network(nn.utils.weight_norm)
    new = network(nn.utils.parametrizations.weight_norm)
    torch.save({"model": below("module", old.state_dict())}, tmp_path / "w.pt")
    load_weights(new, tmp_path / "w.pt")
    x = torch.randn(5, 3)
    torch.testing.assert_close(new(x), old(x))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(7, 4), nn.LayerNorm(4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight


def test_tied_tensors_need_one_name_and_must_not_differ(tmp_path: Path) -> None:
    save_model = library("safetensors.torch").save_model
    net, other = Tied(), Tied()
    save_model(net, str(tmp_path / "w.safetensors"))
    load_weights(other, tmp_path / "w.safetensors")
    assert network_digest(other) == network_digest(net)
    state = {**net.state_dict(), "head.weight": torch.zeros(7, 4)}
    torch.save(state, tmp_path / "w.pt")
    refused(other, tmp_path / "w.pt", r"head\.weight and embedding\.weight are one tensor in")
    assert network_digest(other) == network_digest(net)


def test_a_prefix_or_key_is_chosen_where_several_fit(net: nn.Module, tmp_path: Path) -> None:
    moco = {
        **below("encoder_q", net.state_dict()),
        **below("encoder_k", other_values(net.state_dict())),
        "queue": torch.zeros(5, 5),
    }
    file = tmp_path / "w.pt"
    torch.save({"state_dict": below("module", moco), "epoch": 3}, file)
    other = fresh()
    refused(
        other,
        file,
        r"fit under state_dict\.module\.encoder_q and state_dict\.module\.encoder_k; "
        r"say which, as in w\.pt:state_dict\.module\.encoder_q$",
    )
    load_weights(other, f"{file}:state_dict.module.encoder_q")
    assert network_digest(other) == network_digest(net)
    load_weights(other, f"{file}:state_dict.module.encoder_k")
    assert network_digest(other) != network_digest(net)
    refused(
        other,
        f"{file}:state_dict.modul",
        r"has no key 'state_dict\.modul'; did you mean 'state_dict.module'\? there",
    )


def test_what_is_left_out_is_said(net: nn.Module, tmp_path: Path) -> None:
    state = net.state_dict()
    torch.save({**below("encoder", state), "head.weight": torch.zeros(3, 3)}, tmp_path / "w.pt")
    other = fresh()
    with pytest.warns(
        RepsimWarning, match=r"under encoder; left out 1 more tensors \(head\.weight\)"
    ):
        load_weights(other, tmp_path / "w.pt")
    assert network_digest(other) == network_digest(net)
    both = {"state_dict": state, "state_dict_ema": other_values(state)}
    torch.save(both, tmp_path / "w.pt")
    other = fresh()
    with pytest.warns(
        RepsimWarning, match=r"state_dict; state_dict_ema would fit too, as in w\.pt:s"
    ):
        load_weights(other, tmp_path / "w.pt")
    assert network_digest(other) == network_digest(net)
    load_weights(other, f"{tmp_path / 'w.pt'}:state_dict_ema")
    assert network_digest(other) != network_digest(net)
    torch.save({"student": state, "teacher": other_values(state)}, tmp_path / "w.pt")
    refused(fresh(), tmp_path / "w.pt", "fit under student and teacher; say which, as in w.pt:stu")


def test_a_refusal_names_the_keys_there_are_and_the_nearest(net: nn.Module, tmp_path: Path) -> None:
    state = {key: value for key, value in net.state_dict().items() if key != "3.bias"}
    torch.save({"optimizer": {"state": {0: {"m": torch.ones(1)}}}, "net": state}, tmp_path / "w.pt")
    refused(
        fresh(),
        tmp_path / "w.pt",
        r"1 missing \(3\.bias\), nearest under net; the file has net, net\.0, net\.1, "
        r"net\.3; check the network and its arguments, or name a part as FILE:KEY$",
    )


class Remembers(nn.Linear):
    """Keeps a word beside its tensors."""

    word = "new"

    def get_extra_state(self) -> Any:
        return self.word

    def set_extra_state(self, state: Any) -> None:
        self.word = state


def test_state_beside_tensors_is_loaded_too(tmp_path: Path) -> None:
    net, other = (nn.Sequential(Remembers(2, 2)) for _ in range(2))
    net[0].word = "old"
    torch.save({"net": {**below("module", net.state_dict()), "lr.scale": 0.5}}, tmp_path / "w.pt")
    load_weights(other, tmp_path / "w.pt")
    assert other[0].word == "old"


def test_a_file_with_a_colon_and_a_dictionary_in_itself(net: nn.Module, tmp_path: Path) -> None:
    content: dict[str, Any] = {"net": dict(net.state_dict())}
    content["self"] = content
    torch.save(content, tmp_path / "a:b.pt")
    load_weights(fresh(), tmp_path / "a:b.pt")
    load_weights(fresh(), f"{tmp_path / 'a:b.pt'}:net")


class Hostile:
    """Creates a file in the current directory when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def old_checkpoint(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


@pytest.mark.parametrize("write", [checkpoint, old_checkpoint, pickle.dumps])
@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {"state_dict": evil}])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_code_in_a_file_is_never_run(
    write: Callable[[Any], bytes],
    wrap: Callable[[Any], Any],
    suffix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if suffix == ".safetensors":
        library("safetensors.torch")
    monkeypatch.chdir(tmp_path)
    content = write(wrap(Hostile()))
    Path(f"w{suffix}").write_bytes(content)
    with pytest.raises(StoreError) as caught:
        load_weights(fresh(), f"w{suffix}")
    assert "\n" not in str(caught.value)
    assert not Path("executed").exists()
    if write is pickle.dumps:  # and the file is one that would have
        pickle.loads(content)
        assert Path("executed").exists()


@pytest.mark.parametrize("content", [{"args": argparse.Namespace(a=1)}, nn.Linear(2, 2)])
def test_objects_are_refused_with_the_conversion(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(
        StoreError,
        match=r"w\.pt holds objects of (argparse\.Namespace|torch\.nn\S+\.Linear), .*where you "
        r"trust it, convert it: content = torch\.load\('w\.pt', weights_only=False\)",
    ) as caught:
        load_weights(fresh(), tmp_path / "w.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "w.pt")
    with pytest.raises(StoreError, match="holds a TorchScript program"):
        load_weights(fresh(), tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "flipped"])
def test_a_damaged_file_is_one_line(
    suffix: str, damage: str, net: nn.Module, tmp_path: Path
) -> None:
    file = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        content = library("safetensors.torch").save(net.state_dict())
    else:
        content = checkpoint(net.state_dict())
    flipped = bytes(255 - byte for byte in content[:64]) + content[64:]
    damaged = {"cut": content[:-50], "garbage": b"hello " * 50, "empty": b"", "flipped": flipped}
    file.write_bytes(damaged[damage])
    with pytest.raises(StoreError, match="is damaged or no file of weights") as caught:
        load_weights(fresh(), file)
    assert "\n" not in str(caught.value)


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file of weights"):
        load_weights(fresh(), tmp_path / "w.pt")


# --- digest


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int8])
def test_imaginary_parts_and_codes_are_not_dropped_in_silence(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    network = nn.Linear(2, 2)
    torch.save({k: v.to(dtype) for k, v in network.state_dict().items()}, tmp_path / "w.pt")
    with pytest.raises(StoreError, match=f"2 of another type .weight: {dtype} in the file"):
        load_weights(network, tmp_path / "w.pt")
    doubles = {k: v.double() for k, v in network.state_dict().items()}
    torch.save(doubles, tmp_path / "w.pt")
    load_weights(network, tmp_path / "w.pt")
    assert network.weight.dtype == torch.float32


def test_the_digest_is_that_of_names_types_shapes_and_bytes() -> None:
    network = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 2.0]]))
    content = b"weight torch.float32 (1, 2)\n" + bytes.fromhex("0000803f00000040")
    assert network_digest(network) == hashlib.sha256(content).hexdigest()


def test_the_digest_moves_with_every_part_of_the_state(net: nn.Module) -> None:
    digests = {network_digest(net)}
    net[1].num_batches_tracked += 1
    digests.add(network_digest(net))
    net.eval()
    assert network_digest(net) in digests
    digests.add(network_digest(nn.Sequential(nn.Identity(), net)))
    digests.add(network_digest(net.to(torch.bfloat16)))
    assert len(digests) == 4


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("network", [nn.LazyLinear(2), nn.Linear(2, 2, device="meta")])
def test_weights_that_do_not_exist_have_no_digest(network: nn.Module) -> None:
    with pytest.raises(UsageError, match="'weight' of .* has no values yet"):
        network_digest(network)
