"""Errors that a user's network, loader or factory raises: one line each, with the remedy."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from driving import run_command
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset
from toy_network import Net

import repsim
from repsim.activations import ImageLoader, compare, head_features, layer_null_spaces, trace
from repsim.activations.harvesting.features import layer_features
from repsim.errors import CaptureError, RepsimError, UsageError
from repsim.foreign import cause_of
from repsim.networks.external import load_network

torch.manual_seed(0)
X = torch.randn(12, 6)


def net(forward: Callable[..., Any], **parts: nn.Module) -> Net:
    """A network with a part, and a forward that is given."""
    return Net(forward, part=nn.Sequential(nn.Linear(6, 5), nn.ReLU()), **parts)


def fault(run: Callable[[], Any]) -> str:
    """The message of the one error that ``run`` raises; it is one line, and has a cause."""
    with pytest.raises(CaptureError) as caught:
        run()
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)
    return str(caught.value)


def harvested(model: nn.Module, loader: Any, path: Path, **options: Any) -> Any:
    return repsim.harvest(model, loader, path / "a.h5", **{"examples": 12, **options})


# --- networks


@pytest.mark.parametrize("pooling", ["none", "avg"])
def test_a_batch_of_one_example_that_is_squeezed_is_named(pooling: str, tmp_path: Path) -> None:
    """The example has no row, or its positions would be rows; the remedies work."""

    def squeezed(net: Net, x: Tensor) -> Tensor:
        return net.out(net.part(x.unflatten(1, (2, 3))).squeeze())

    def kept(net: Net, x: Tensor) -> Tensor:
        return net.out(net.part(x.unflatten(1, (2, 3))))

    model = Net(squeezed, part=nn.Linear(3, 5), out=nn.Linear(5, 4))
    given: Any = {"layers": "out", "pooling": pooling, "examples": 9, "overwrite": True}
    match = r"'out' gives \(2, 4\) for a batch of one example.*--batch-size.*squeeze\(-1\)"
    for run in (
        lambda: harvested(model, X[:9].split(8), tmp_path, **given),
        lambda: compare(
            model, model, X[:9].split(8), layers_a="out", layers_b="out", pooling=pooling
        ),
    ):
        with pytest.raises(RepsimError, match=match) as caught:
            run()
        assert "\n" not in str(caught.value)
    if pooling == "none":
        with pytest.raises(RepsimError, match=match):
            layer_features(model, DataLoader(X[:9], 8), ["out"])
    expected = kept(model, X[:9]).detach()
    expected = expected.mean(1) if pooling == "avg" else expected
    with harvested(model, X[:9].split(3), tmp_path, **given) as store:
        torch.testing.assert_close(torch.from_numpy(store["out"][:]), expected)


def test_a_network_that_fails_on_a_squeezed_example_says_so(tmp_path: Path) -> None:
    model = net(lambda net, x: net.norm(net.part(x).squeeze()), norm=nn.BatchNorm1d(5))
    message = fault(lambda: harvested(model.eval(), X[:9].split(8), tmp_path, examples=9))
    assert "batch 2" in message
    assert "holds one example, whose axis squeeze() in forward would drop" in message
    assert "--batch-size" in message


def no_key(net: Net, x: Tensor) -> Tensor:
    return net.part({"image": x}["mask"])


def no_attribute(net: Net, x: Tensor) -> Tensor:
    return net.encoder(x)


def no_structure(net: Net, x: Any) -> Tensor:
    return net.part(x.pixel_values)


def named_entry(net: Net, x: Any) -> Tensor:
    return net.part(x["image"])


def assertion(net: Net, x: Tensor) -> Tensor:
    assert x.shape[1] == 3
    return net.part(x)


def assertion_with_text(net: Net, x: Tensor) -> Tensor:
    assert x.shape[1] == 3, "expected 3 channels"
    return net.part(x)


def index(net: Net, x: Tensor) -> Tensor:
    return net.part([x][3])


def wrong_call(net: Net, x: Tensor) -> Tensor:
    return net.part(x, mask=None)


def missing_in_part(net: Net, x: Tensor) -> Tensor:
    return net.bilinear(x)


def large_values(net: Net, x: Tensor) -> Tensor:
    if float(x.max()) > 50:
        raise ValueError("values above 50")
    return net.part(x)


def gradient(net: Net, x: Tensor) -> Tensor:
    x = x.detach().clone().requires_grad_()
    energy = net.part(x).square().sum()
    return torch.autograd.grad(energy, x)[0]


def too_large(net: Net, x: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nmore")


def no_forward(net: Net, x: Tensor) -> Tensor:
    return net.parts(x)


def half(net: Net, x: Tensor) -> Tensor:
    return net.part(x.half())


SIZE = "check the size, channels and number type that it takes"

NETWORKS: list[tuple[Callable[..., Any], dict[str, nn.Module], str]] = [
    (no_key, {}, r"at HERE: KeyError: 'mask'$"),
    (no_attribute, {}, r"at HERE: AttributeError: 'Net' object has no attribute 'encoder'$"),
    (no_structure, {}, r"at HERE: AttributeError: .*; it is given a tensor and reads something"),
    (named_entry, {}, r"at HERE: \w+Error: .*; it is given a tensor and reads something else"),
    (assertion, {}, r"at HERE: AssertionError: assert 6 == 3$"),  # pytest fills in
    (assertion_with_text, {}, rf"at HERE: AssertionError: expected 3 channels; {SIZE}"),
    (index, {}, r"at HERE: IndexError: list index out of range$"),
    (wrong_call, {}, r"in layer 'part' \(Sequential\), at HERE: TypeError: .*; the network calls"),
    (
        missing_in_part,
        {"bilinear": nn.Bilinear(6, 6, 2)},
        r"in layer 'bilinear' \(Bilinear\), at HERE: TypeError: .*'input2'; the network calls it",
    ),
    (gradient, {}, r"at HERE: RuntimeError: .*; if its forward needs gradients, pass --allow-grad"),
    (too_large, {}, r"at HERE: OutOfMemoryError: .* 20 GiB.; take a smaller batch"),
    (
        no_forward,
        {"parts": nn.ModuleList([nn.ReLU()])},
        r"in layer 'parts' \(ModuleList\), at HERE: NotImplementedError: .*; call a part that has",
    ),
    (half, {}, r"'part.0' \(Linear\), at HERE: RuntimeError: .*; check the number type .*float32"),
]


@pytest.mark.parametrize(("forward", "parts", "message"), NETWORKS)
def test_an_error_of_a_network_is_one_line(
    tmp_path: Path, forward: Callable[..., Any], parts: dict[str, nn.Module], message: str
) -> None:
    found = fault(lambda: harvested(net(forward, **parts), X.split(4), tmp_path))
    begin = r"^Net does not run on the first batch \(examples '0' to '3', inputs \(4, 6\) torch.f"
    assert re.search(begin, found)
    assert re.search(message.replace("HERE", r"tests/test_faults.py:\d+"), found)
    line = int(re.findall(r"test_faults.py:(\d+)", found)[0])
    code = forward.__code__
    assert code.co_firstlineno < line <= code.co_firstlineno + 4
    assert list(tmp_path.iterdir()) == []


def test_a_module_of_torch_alone_has_a_layer_and_no_place(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(4, 2))
    found = fault(lambda: harvested(model, X.split(4), tmp_path))
    assert re.search(rf"in layer '1' \(Linear\): RuntimeError: mat1 .*; {SIZE}$", found)


def test_an_embedding_says_that_it_has_fewer_rows(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten())
    found = fault(lambda: harvested(model, [torch.arange(12)[:, None]], tmp_path))
    assert "in layer '0' (Embedding): IndexError: index out of range in self; an embedding" in found
    found = fault(lambda: harvested(model, [X[:, :1]], tmp_path))
    assert found.endswith("; an embedding takes whole numbers")


def test_an_error_of_a_later_batch_names_it_and_its_examples(tmp_path: Path) -> None:
    batches = [(X[:4], None, "abcd"), (X[4:8], None, "efgh"), (99 * X[8:].abs(), None, "ijkl")]
    found = fault(lambda: harvested(net(large_values), batches, tmp_path))
    assert found.startswith("Net does not run on batch 3 (examples 'i' to 'l', inputs (4, 6)")
    assert "ValueError: values above 50; the batches before it passed" in found


def test_a_later_batch_is_named_wherever_a_network_runs(tmp_path: Path) -> None:
    class Headed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            if float(x.max()) > 50:
                raise ValueError("values above 50")
            return self.head(x)

    class Loader:
        dataset = range(12)

        def __iter__(self) -> Iterator[Tensor]:
            yield from (X[:6], 99 * X[6:].abs())

    run: Callable[..., Any]
    for run in (
        lambda net: compare(net, net, Loader()),
        lambda net: head_features(net, Loader()),
        lambda net: layer_null_spaces(net, Loader()),
    ):
        found = fault(lambda run=run: run(Headed()))
        assert found.startswith("Headed does not run on batch 2 (examples '6' to '11', inputs (6")


def test_a_hook_of_the_user_is_named(tmp_path: Path) -> None:
    def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
        raise KeyError("seen")

    model = net(large_values)
    model.part[1].register_forward_hook(look)
    found = fault(lambda: harvested(model, X.split(4), tmp_path))
    assert re.search(r"in a hook of layer 'part.1' \(ReLU\), at .*:\d+: KeyError: 'seen'", found)


def test_the_towers_of_a_network_of_two_are_named(tmp_path: Path) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text, self.image = nn.Embedding(9, 4), nn.Linear(6, 4)

        def forward(self, pixels: Any = None, tokens: Any = None, scale: Any = None) -> Tensor:
            return self.image(pixels) + self.text(tokens).mean(1)

    class Strict(Both):
        def forward(self, pixels: Any = None, tokens: Any = None, scale: Any = None) -> Tensor:
            if tokens is None:
                raise ValueError("You have to specify tokens")
            return super().forward(pixels, tokens)

    class Translator(Both):
        def __init__(self) -> None:
            super().__init__()
            self.decoder = Half(lambda half, x: x)

        def forward(self, tokens: Any = None, decoder_tokens: Any = None, x: Any = None) -> Tensor:
            return self.decoder(decoder_tokens) + self.text(tokens).mean(1)

    class Half(Net):
        def forward(self, tokens: Any = None) -> Tensor:
            if tokens is None:
                raise ValueError("You must specify exactly one of tokens or embeddings")
            return tokens

    found = fault(lambda: harvested(Translator(), [{"tokens": X.long()}], tmp_path))
    assert "in layer 'decoder' (Half)" in found
    assert "; decoder_tokens is None, and the batch gives tokens; give it too, or harvest" in found
    found = fault(lambda: harvested(Both(), [{"pixels": X}], tmp_path))
    assert "in layer 'text' (Embedding)" in found
    assert "; tokens is None, and the batch gives pixels; give it too, or harvest a part" in found
    found = fault(lambda: harvested(Strict(), [{"pixels": X}], tmp_path))
    assert found.endswith("specify tokens; tokens is None, and the batch gives pixels; give it too")


def test_arguments_that_a_batch_does_not_give_or_gives_too_many(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(6, 2)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return self.line(x * mask)

    class Any_(Two):
        def forward(self, **entries: Tensor) -> Tensor:  # type: ignore[override]
            return self.inner(**entries)

        def inner(self, x: Tensor, mask: Tensor) -> Tensor:
            return self.line(x * mask)

    class Keys(Two):
        def forward(self, **entries: Tensor) -> Tensor:  # type: ignore[override]
            return self.line(entries["x"] * entries["mask"])

    class Lossy(Two):
        def forward(self, x: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
            return nn.functional.cross_entropy(self.line(x), labels)

    batch = {"x": X, "labels": torch.arange(12)}
    found = fault(lambda: harvested(Lossy(), [batch], tmp_path))
    assert "IndexError: Target 2 is out of bounds.; it was given 'labels', and labels" in found
    found = fault(lambda: harvested(Two(), X.split(4), tmp_path))
    assert "forward takes x, mask, and the batch gives one tensor, for a tuple is " in found
    found = fault(lambda: harvested(Any_(), [{"x": X, "mask": X, "depth": X}], tmp_path))
    assert "'depth'; the batch gives x, mask, depth; leave 'depth' out of it" in found
    found = fault(lambda: harvested(Keys(), [{"x": X, "masks": X}], tmp_path))
    assert "KeyError: 'mask'; the batch gives x, masks; rename or add what it looks for" in found


def test_a_part_that_is_run_by_its_forward_method_is_told_from_one_that_is_not(
    tmp_path: Path,
) -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        return net.part.forward(x)

    model = net(forward, idle=nn.ReLU())
    for layer, reason in (
        ("part", "was run by its forward method, which hooks do not see: call the module itself"),
        ("idle", "was not called by the network's forward"),
    ):
        with pytest.raises(CaptureError, match=f"layer '{layer}' {reason}"):
            harvested(model, X.split(4), tmp_path, layers=[layer])


# --- gradients


class Forces(nn.Module):
    """Forces of an energy, which are gradients of it; leaves gradients of its weights behind."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))
        self.out = nn.Identity()
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().clone().requires_grad_()
        self.energy(x).sum().backward()
        assert x.grad is not None
        return self.head(self.out(x.grad))


def forces(model: Forces, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model.energy(x).sum(), x)[0]


def test_gradients_within_a_forward_are_allowed_and_recorded(tmp_path: Path) -> None:
    model = Forces()
    model.energy[0].weight.grad = torch.ones(5, 6)
    expected = forces(model, X)
    with pytest.raises(CaptureError, match="pass --allow-grad"):
        harvested(model, X.split(4), tmp_path)
    with harvested(model, X.split(4), tmp_path, allow_grad=True) as store:
        torch.testing.assert_close(torch.from_numpy(store["out"][:]), expected)
        assert store.provenance()["allowed"] == {"randomness": False, "batch": False, "grad": True}
    assert torch.equal(model.energy[0].weight.grad, torch.ones(5, 6))
    assert model.energy[2].weight.grad is None
    again = harvested(model, X.split(4), tmp_path, allow_grad=True, resume=True)
    again.close()
    torch.testing.assert_close(head_features(model, X, allow_grad=True), expected)
    assert compare(model, model, [X], allow_grad=True).layers_a[-1] == "head"
    assert layer_null_spaces(model, X, allow_grad=True)
    plan = repsim.activations.plan_harvest(model, [X], examples=12, allow_grad=True)
    assert "out" in plan.layers


def test_a_store_without_gradients_does_not_mention_them(tmp_path: Path) -> None:
    with harvested(net(large_values), X.split(4), tmp_path) as store:
        assert store.provenance()["allowed"] == {"randomness": False, "batch": False}


# --- loaders


class Broken(Dataset[Any]):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, place: int) -> Any:
        if place == 9:
            return {"x": X[place]}["y"]
        return X[place]


class Ragged(Broken):
    def __getitem__(self, place: int) -> Any:
        return torch.zeros(place + 1)


class Objects(Broken):
    def __getitem__(self, place: int) -> Any:
        return object()


class NoLength(Broken):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        raise self.error


def collate(examples: Sequence[Any]) -> Any:
    raise RuntimeError("cannot collate")


def generator() -> Iterator[Tensor]:
    yield X[:4]
    raise OSError("disk gone")


LOADERS = [
    (lambda: DataLoader(Broken(), 4), r"batch 3 \(after 8 examples, example 9, at HERE\): KeyErr"),
    (lambda: DataLoader(Ragged(), 4), r"the first batch: RuntimeError: .*; its examples differ in"),
    (lambda: DataLoader(Objects(), 4), r"the first batch: TypeError: .*; pass a collate_fn"),
    (
        lambda: DataLoader(Broken(), 4, collate_fn=collate),
        r"the first batch \(at HERE\): RuntimeError: cannot collate$",
    ),
    (generator, r"batch 2 \(after 4 examples, at HERE\): OSError: disk gone; the batches before"),
    (
        lambda: DataLoader(Broken(), 4, num_workers=1),
        r"batch 3 \(after 8 examples, at HERE, in DataLoader worker process 0\): KeyError: 'y'; th",
    ),
]


@pytest.mark.parametrize(("make", "message"), LOADERS)
def test_an_error_of_a_loader_is_one_line(
    tmp_path: Path, make: Callable[[], Any], message: str
) -> None:
    model = nn.Sequential(nn.Linear(6, 5))
    found = fault(lambda: harvested(model, make(), tmp_path))
    message = message.replace("HERE", r"tests/test_faults.py:\d+")
    assert re.search(f"^the loader fails at {message}", found)


def test_an_error_of_a_loaders_length_is_one_line(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 5))
    broken = DataLoader(NoLength(KeyError("index")), 4)
    for run in (
        lambda: repsim.harvest(model, broken, tmp_path / "a.h5"),
        lambda: compare(model, model, broken),
    ):
        assert re.search(r"the loader's length fails at .*:\d+: KeyError: 'index'", fault(run))
    with pytest.raises(UsageError, match="does not say how many examples"):
        streamed = DataLoader(NoLength(NotImplementedError()), 4)
        repsim.harvest(model, streamed, tmp_path / "a.h5")


def test_a_comparison_needs_no_length(tmp_path: Path) -> None:
    class Streamed(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Tensor]:
            yield from X

    model = nn.Sequential(nn.Linear(6, 5))
    assert compare(model, model, DataLoader(Streamed(), 6)).n == 12


def test_a_profiler_of_the_user_is_left_alone() -> None:
    calls = []
    sys.setprofile(lambda *call: calls.append(call[1]))
    try:
        before = sys.getprofile()
        assert "part" in trace(net(large_values), X, ["part"])
        assert sys.getprofile() is before
    finally:
        sys.setprofile(None)
    assert calls


class Stopping(Broken):
    def __getitem__(self, place: int) -> Any:
        if place == 9:
            raise StopIteration
        return X[place]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_set_that_raises_stop_iteration_does_not_end_a_comparison(workers: int) -> None:
    loader = DataLoader(Stopping(), 6, num_workers=workers)
    model = nn.Sequential(nn.Linear(6, 5))
    found = fault(lambda: compare(model, model, loader))
    assert re.search(r"^the loader fails at batch 2 \(after 6 .*: StopIteration", found)


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(("error", "text"), [(Mute(), "Mute"), (ValueError(999 * "x"), "xx ...")])
def test_texts_that_fail_or_are_endless(tmp_path: Path, error: Exception, text: str) -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        raise error

    found = fault(lambda: harvested(net(forward), [X], tmp_path))
    assert found.endswith(text)
    assert len(found) < 600


def test_an_error_of_a_scripted_part_is_its_own(tmp_path: Path) -> None:
    model = nn.Sequential(torch.jit.script(nn.Linear(5, 4)), nn.ReLU())
    found = fault(lambda: harvested(model, [X], tmp_path))
    assert re.search(r"in layer '0' \(\w+\): RuntimeError: return F.linear\(", found)
    with pytest.raises(RuntimeError) as caught:
        model(X)
    assert cause_of(caught.value).text.startswith("RuntimeError: mat1 and mat2 shapes")


def test_what_is_no_loader_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the loader is a int; expected an iterable of batches"):
        harvested(nn.Sequential(nn.Linear(6, 5)), 5, tmp_path)


# --- errors of repsim


def test_errors_of_our_own_code_keep_their_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = net(large_values)
    with pytest.raises(TypeError):
        harvested(model, ImageLoader(None), tmp_path)  # type: ignore[arg-type]
    monkeypatch.setattr("repsim.activations.capture.hooks.owned", None)
    with pytest.raises(TypeError):
        harvested(model, X.split(4), tmp_path)


# --- factories and the command line

MODULE = """
    import torch
    from torch import nn

    def late(weights):
        return open(weights)

    def wrong(depth=1):
        return {}["depth"]

    class Net(nn.Sequential):
        def __init__(self, width, depth=2):
            super().__init__(nn.Flatten(), nn.Linear(width, depth))

    class Picky(Net):
        def forward(self, x):
            raise ValueError("not today")

    def check(width):
        assert width == 3

    def picky():
        return Picky(64)
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "faulty_of_mine.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "script_of_mine.py").write_text("import sys\nsys.exit(2)\n")
    monkeypatch.chdir(tmp_path)
    yield "faulty_of_mine"
    for name in ("faulty_of_mine", "script_of_mine"):
        sys.modules.pop(name, None)


FACTORIES = [
    (":wrong", {}, r"cannot be made \(KeyError: 'depth'\) at faulty_of_mine.py:9$"),
    (":late", {"weights": "w.pt"}, r"\) at faulty_of_mine.py:6; relative paths begin at /"),
    (":Net", {}, r"missing 1 required .*'width'\); it takes width, depth=2$"),
    (":Net", {"wide": 3}, r"made with \{\"wide\": 3\} \(TypeError: .*\); it takes width, depth=2$"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), FACTORIES)
def test_an_error_of_a_factory_is_one_line(
    mine: str, name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_network(mine + name, arguments=arguments)
    assert caught.value.__cause__ is not None


def test_an_assertion_without_a_text_shows_its_line(mine: str) -> None:
    with pytest.raises(UsageError, match=r"\(AssertionError: assert width == 3\) at faulty_of"):
        load_network(f"{mine}:check", arguments={"width": 4})


def test_a_module_that_ends_the_program_does_not(mine: str) -> None:
    with pytest.raises(UsageError, match=r"SystemExit: 2\) at script_of_mine.py:2; it ends the"):
        load_network("script_of_mine:make")


def test_the_command_line_says_how_to_see_the_traceback(
    mine: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("harvest", "--model", f"{mine}:picky", "--data", "digits", "--device", "cpu")
    assert run_command(*command) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert "at faulty_of_mine.py:17: ValueError: not today (REPSIM_TRACEBACK=1 shows" in errors[0]
    monkeypatch.setenv("REPSIM_TRACEBACK", "1")
    assert run_command(*command) == 1
    errors = capsys.readouterr().err.splitlines()
    assert "Traceback (most recent call last):" in errors
    assert errors[-1].endswith("ValueError: not today")
    assert run_command("harvest", "--model", f"{mine}:wrong", "--data", "digits") == 2


def test_causes_of_other_processes_are_read_from_their_text() -> None:
    text = (
        "Caught ValueError in DataLoader worker process 3.\nOriginal Traceback (most recent call "
        'last):\n  File "/home/me/data.py", line 7, in __getitem__\n    raise ValueError("no")\n'
        f'  File "{torch.__file__}", line 3, in stack\nValueError: no\n'
    )
    found = cause_of(ValueError(text))
    assert (found.text, found.place) == ("ValueError: no", "/home/me/data.py:7")
    assert found.elsewhere == "DataLoader worker process 3"


def test_a_store_that_is_damaged_is_no_error_of_foreign_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.h5").write_bytes(b"no store")
    assert run_command("info", tmp_path / "a.h5") == 1
    assert "REPSIM_TRACEBACK" not in capsys.readouterr().err
