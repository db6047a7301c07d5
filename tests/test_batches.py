"""Batches of all kinds of loaders, and networks that are fed with them."""

from __future__ import annotations

import warnings
from collections import UserDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import repsim
from repsim.activations.capture.arguments import run, warn_of_unused
from repsim.activations.capture.batches import (
    as_type,
    batch_size,
    head,
    ids_of,
    inputs_of,
    pick,
    targets_of,
    to_device,
)
from repsim.activations.harvesting.features import layer_features
from repsim.errors import RepsimWarning, UsageError

X = torch.arange(12.0).reshape(4, 3)
IDS = ["a", "b", "c", "d"]


class Recorder(nn.Module):
    """Returns what it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class Positional(Recorder):
    def forward(self, x: Tensor) -> Any:
        return {"x": x}


class Named(Recorder):
    def forward(self, input_ids: Tensor, *, mask: Tensor | None = None, labels: Any = None) -> Any:
        return {"input_ids": input_ids, "mask": mask, "labels": labels}


class Anything(Recorder):
    def forward(self, **tensors: Any) -> Any:
        return tensors


@pytest.mark.parametrize(
    "batch",
    [X, (X, torch.zeros(4)), [X, torch.zeros(4), IDS], X.numpy(), (X.numpy(), IDS), {"image": X}],
    ids=["tensor", "pair", "triple", "array", "array-ids", "dictionary"],
)
def test_images_are_the_first_argument(batch: Any) -> None:
    assert torch.equal(run(Positional(), batch)["x"], X)
    assert batch_size(batch) == 4


@pytest.mark.parametrize("kind", [dict, UserDict])
def test_a_dictionary_gives_the_arguments_that_forward_takes(kind: Any) -> None:
    batch = kind(input_ids=X.long(), mask=X.numpy() > 1, labels=X, ids=IDS, extra=X, text=IDS)
    given = run(Named(), batch)
    assert torch.equal(given["labels"], X)
    assert torch.equal(given["input_ids"], X.long())
    assert torch.equal(given["mask"], X > 1)
    assert set(run(Anything(), batch)) == {"input_ids", "mask", "extra", "text"}
    assert set(run(nn.DataParallel(Named()), (batch, X))) == {"input_ids", "mask", "labels"}


class Scaled(Recorder):
    def forward(self, x: Tensor, scale: float = 1.0, use_tanh: bool = False, **more: Any) -> Any:
        return {"x": x, "scale": scale, "use_tanh": use_tanh, **more}


def test_arguments_need_not_be_tensors() -> None:
    batch = {"x": X, "scale": 3.0, "use_tanh": True, "mode": "fast", "cache": None, "ids": IDS}
    given = run(Scaled(), batch)
    assert torch.equal(given.pop("x"), X)
    assert given == {"scale": 3.0, "use_tanh": True, "mode": "fast", "cache": None}


@pytest.mark.parametrize("passes_on", [False, True])
def test_a_call_of_the_networks_own_has_its_own_arguments(passes_on: bool, tmp_path: Path) -> None:
    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def __call__(self, x: Tensor, scale: float = 1.0) -> Any:
            return super().__call__(x * scale)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)

    class PassesOn(Called):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return nn.Module.__call__(self, *args, **kwargs)

        def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
            return self.layer(x * scale)

    network, x = PassesOn() if passes_on else Called(), torch.randn(4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RepsimWarning)
        store = repsim.harvest(network, [{"x": x, "scale": 3.0}], tmp_path / "a.h5", examples=4)
    with store:
        np.testing.assert_allclose(store["layer"][:], network(x, 3.0).detach(), atol=1e-6)


def test_a_single_tensor_of_another_name_comes_before_other_arguments() -> None:
    class Bounded(Recorder):
        def forward(self, x: Tensor, scale: float = 1.0, labels: Any = None) -> Any:
            return x, scale, labels

    x, scale, labels = run(
        Bounded(), {"image": X, "scale": 3.0, "labels": [0, 1, 1, 0], "path": IDS}
    )
    assert torch.equal(x, X)
    assert (scale, labels.tolist()) == (3.0, [0, 1, 1, 0])


def test_entries_that_are_left_out_are_named() -> None:
    batch = {"input_ids": X.long(), "extra": X, "text": IDS, "labels": X, "ids": IDS, "mine": X}
    with pytest.warns(RepsimWarning, match="Named does not take 'extra', 'text': left out") as said:
        warn_of_unused(Named(), batch, ["mine"])
    assert len(said) == 1
    with pytest.warns(RepsimWarning, match="Positional does not take 'path': left out"):
        warn_of_unused(Positional(), {"image": X, "path": IDS})


@pytest.mark.parametrize(
    ("model", "batch"),
    [
        (Positional(), X),
        (Positional(), (X, torch.zeros(4), IDS)),
        (Positional(), {"image": X, "label": torch.zeros(4), "ids": IDS}),
        (Anything(), {"image": X, "text": IDS}),
    ],
)
@pytest.mark.filterwarnings("error")
def test_nothing_is_said_where_nothing_is_left_out(model: nn.Module, batch: Any) -> None:
    warn_of_unused(model, batch)


def later_entry() -> list[dict[str, Any]]:
    """Batches of which those behind the first have an entry that no network takes."""
    later = {"input": X + 1, "weights": 2.0}
    return [{"input": X}, later, {**later, "input": X - 1}]


def times(said: pytest.WarningsRecorder) -> int:
    return sum("does not take 'weights'" in str(each.message) for each in said)


def test_an_entry_that_comes_later_is_named_once(tmp_path: Path) -> None:
    with pytest.warns(RepsimWarning, match="Sequential does not take 'weights'") as said:
        repsim.harvest(nn.Sequential(nn.Linear(3, 2)), later_entry(), tmp_path / "a", examples=12)
    assert times(said) == 1


def test_an_entry_of_the_first_batch_of_a_resumed_harvest_is_named(tmp_path: Path) -> None:
    def broken() -> Any:
        yield later_entry()[0]
        raise KeyboardInterrupt

    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(KeyboardInterrupt):
        repsim.harvest(model, broken(), tmp_path / "a", examples=12)
    with pytest.warns(RepsimWarning, match="Sequential does not take 'weights'") as said:
        repsim.harvest(model, later_entry(), tmp_path / "a", examples=12, resume=True)
    assert times(said) == 1


def test_networks_that_run_name_it_once_each() -> None:
    a, b = (nn.Sequential(nn.Linear(3, 2)) for _ in "ab")
    with pytest.warns(RepsimWarning, match="Sequential does not take 'weights'") as said:
        repsim.compare(a, b, later_entry())
    assert times(said) == 2


def test_what_lies_within_an_argument_moves_and_changes_its_type() -> None:
    batch = {"x": X, "past": ((X, X), {"y": [X.half(), "text"]}), "labels": X}
    past, nested = to_device(batch, "meta")["past"]
    assert [past[0].device.type, nested["y"][0].device.type] == ["meta", "meta"]
    wide = as_type(batch, torch.float64)
    assert wide["past"][0][1].dtype == wide["past"][1]["y"][0].dtype == torch.float64
    assert wide["past"][1]["y"][1] == "text"
    assert isinstance(wide["past"], tuple)


def test_values_of_the_whole_batch_do_not_tell_its_size() -> None:
    """A number each of 7 features, a mask that all sequences share, and a text an example."""
    batch = {"scale": torch.ones(7), "x": torch.zeros(4, 7), "text": IDS, "names": ["p", "q"]}
    assert batch_size(batch) == 4
    cut = pick(batch, [3, 0])
    assert (cut["scale"].shape, cut["text"], cut["names"]) == ((7,), ["d", "a"], ["p", "q"])
    shared = {"src_mask": torch.ones(4, 4), "src": torch.zeros(4, 4, 2)}
    assert pick(shared, [1])["src_mask"].shape == (4, 4)
    assert batch_size({"bias": torch.zeros(7, 2), "x": torch.zeros(4, 7), "ids": IDS}) == 4


def test_labels_of_a_network_are_targets_where_they_can_be() -> None:
    tokens = torch.full((4, 3), -100)
    assert targets_of({"x": X, "labels": [0, 2, 1, 0]}, ["labels"])["label"].tolist() == [
        0,
        2,
        1,
        0,
    ]
    assert targets_of({"x": X, "labels": tokens}, ["labels"]) == {}
    assert targets_of({"x": X, "labels": torch.rand(4)}, ["labels"]) == {}
    assert targets_of({"x": X, "labels": tokens}) == {}
    with pytest.raises(UsageError, match="that are not zeros and ones"):
        targets_of(({"x": X}, tokens), ["labels"])
    for wrong in (["a"] * 4, torch.full((4,), -1)):
        with pytest.raises(UsageError, match="labels that are text|came with label -1"):
            targets_of({"x": X, "labels": wrong})


@pytest.mark.parametrize("name", ["labels", "label"])
@pytest.mark.parametrize("kind", ["tokens", "numbers"])
def test_labels_in_a_dictionary_that_are_no_targets_are_left_out(
    name: str, kind: str, tmp_path: Path
) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(9, 4)

        def forward(self, input_ids: Tensor) -> Tensor:
            return self.embed(input_ids)

    class Labelled(Plain):
        def forward(self, input_ids: Tensor, labels: Tensor, label: Any = None) -> Tensor:
            assert labels.shape[:1] == input_ids.shape[:1]
            return super().forward(input_ids)

    ids = torch.randint(0, 9, (8, 5))
    labels = torch.where(ids > 6, -100, ids) if kind == "tokens" else torch.randn(8)
    ones = torch.ones_like(labels)  # of a later batch, which might be targets
    batches = [{"input_ids": ids, name: labels}, {"input_ids": ids + 0, name: ones}]
    given: Any = {"examples": 16, "overwrite": True, "pooling": "none"}
    plain = Plain()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", RepsimWarning)
        store = repsim.harvest(plain, batches, tmp_path / "a.h5", **given)
    told = [str(each.message) for each in said if "no labels of the examples" in str(each.message)]
    assert len(told) == 1
    assert f"{name!r} {tuple(labels.shape)} are no labels" in told[0]
    with store:
        assert not store.targets
        np.testing.assert_allclose(store["embed"][:8], plain.embed(ids).detach(), atol=1e-6)
    if name == "labels":
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", RepsimWarning)
            repsim.harvest(Labelled(), batches[:1], tmp_path / "a.h5", **given | {"examples": 8})
        assert not any("no labels of the examples" in str(each.message) for each in said)


@pytest.mark.parametrize(
    "array",
    [X.double().numpy(), X.numpy()[::-1][::-1], X.numpy()[:, ::-1][:, ::-1], np.float16(X.numpy())],
)
def test_arrays_become_tensors_of_the_networks_type(array: np.ndarray) -> None:
    array.setflags(write=False)
    assert run(Positional(), array)["x"].dtype == torch.float32
    given = run(Positional().double(), array)["x"]
    assert torch.equal(given, X.double())


def test_tensors_and_integers_keep_their_type() -> None:
    assert run(Positional(), X.double())["x"].dtype == torch.float64
    assert run(Positional(), X.long().numpy())["x"].dtype == torch.int64


def test_an_array_that_is_fed_is_not_written_to() -> None:
    array = np.ones((2, 2), np.float32)
    array.setflags(write=False)
    run(Positional(), array)["x"].zero_()
    assert array.all()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ("text", "a batch gave str as inputs"),
        (["text"], "a batch gave str as inputs"),
        ([], "a batch gave list as inputs"),
        (None, "a batch gave NoneType as inputs"),
        (
            {"labels": X, "text": IDS},
            r"it has labels \(Tensor\), text \(\w+\): make tensors",
        ),
        ({"mask": X}, r"mask does not fit forward\(input_ids.*missing a required argument"),
        ({"a": X, "b": X}, r"a, b does not fit forward"),
        (np.array(["text"]), "array of <U4"),
    ],
)
def test_what_cannot_be_fed_is_refused_in_one_line(batch: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        run(Named(), batch)
    assert "\n" not in str(error.value)


def test_a_network_that_fails_fails_with_its_own_error() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run(nn.Linear(7, 2), X)


def test_the_head_of_a_batch_has_its_labels_and_ids() -> None:
    assert torch.equal(head(X, 2), X[:2])
    np.testing.assert_array_equal(head(X.numpy(), 2), X.numpy()[:2])
    images, labels, ids = head((X, torch.arange(4), IDS), 2)
    assert torch.equal(images, X[:2])
    assert (labels.tolist(), ids) == ([0, 1], IDS[:2])
    bias = torch.ones(7, 3)
    cut = head(UserDict(x=X, bias=bias, scale=torch.tensor(2.0), text=IDS, flag=True), 2)
    assert cut.pop("bias") is bias
    assert {k: getattr(v, "shape", v) for k, v in cut.items()} == {
        "x": (2, 3),
        "scale": (),
        "text": IDS[:2],
        "flag": True,
    }
    assert len(head(X, 9)) == 4


def test_only_what_is_fed_moves() -> None:
    images, labels, ids = to_device((X, torch.arange(4), IDS), "meta")
    assert (images.device.type, labels.device.type, ids) == ("meta", "cpu", IDS)
    moved = to_device(({"x": X, "labels": X, "a": X.numpy()}, X), "meta")
    assert [moved[0][key].device.type for key in ("x", "labels")] == ["meta", "meta"]
    assert isinstance(moved[0]["a"], np.ndarray)
    assert moved[1].device.type == "cpu"


def test_a_batch_without_examples_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a single number; expected \(n, ...\)"):
        batch_size(torch.tensor(3.0))
    assert batch_size({"scale": torch.tensor(3.0), "x": X}) == 4
    assert inputs_of((X, IDS)) is X


TOKENS = torch.arange(12).reshape(4, 3)
MARKS = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]])


@pytest.mark.parametrize(
    "batch",
    [
        (TOKENS, MARKS),
        (TOKENS.int().numpy(), MARKS.numpy() > 0),
        [TOKENS, MARKS, torch.zeros(4).long()],
        (TOKENS, torch.zeros(4).long(), MARKS),
        (TOKENS, TOKENS),
        (TOKENS, MARKS, MARKS, torch.zeros(4).long()),
        ({"input_ids": TOKENS}, MARKS),
    ],
    ids=["pair", "arrays", "triple", "third", "shifted", "four", "dictionary"],
)
def test_a_mask_is_no_label(batch: Any, tmp_path: Path) -> None:
    """Labels (n, k) of tokens (n, k) would be a chance; a mask beside them is usual."""
    network = nn.Sequential(nn.Embedding(12, 4))
    match = r"give \{'input_ids': ..., 'attention_mask': ...\} in one dictionary, labels by name"
    with pytest.raises(UsageError, match=match) as error:
        repsim.harvest(network, [batch], tmp_path / "a.h5", examples=4, pooling="avg")
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match=match):
        repsim.compare(network, network, [batch], pooling="avg")
    with pytest.raises(UsageError, match=match):
        layer_features(network, [batch], ["0"])


@pytest.mark.parametrize("end", ["right", "left"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_a_mask_of_steps_is_no_label(dtype: torch.dtype, end: str, tmp_path: Path) -> None:
    mask = (torch.arange(5) < torch.tensor([[3], [5], [1], [4]])).to(dtype)
    mask = mask.flip(1) if end == "left" else mask
    frames, network = torch.randn(4, 5, 6), nn.Sequential(nn.Linear(6, 2))
    for batch in ((frames, mask), (frames.numpy(), mask.numpy()), (frames.transpose(0, 1), mask)):
        with pytest.raises(UsageError, match="as a mask of padding does") as error:
            repsim.harvest(network, [batch], tmp_path / "a.h5", examples=4, pooling="avg")
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="as a mask of padding does"):
        repsim.compare(network, network, [(frames, mask)], pooling="avg")


def test_labels_of_several_classes_are_labels() -> None:
    frames, apart = torch.randn(4, 3, 6), torch.tensor([[1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 1, 0]])
    assert targets_of((frames, apart))["label"].tolist() == apart.tolist()
    assert targets_of((frames, torch.ones(4, 3)))["label"].shape == (4, 3)  # masks nothing
    told = (TOKENS, {"label": MARKS})
    assert targets_of(told)["label"].tolist() == MARKS.tolist()
    for inputs in (X, TOKENS[:, :2], {"input_ids": TOKENS, "attention_mask": MARKS}):
        assert targets_of((inputs, MARKS))["label"].tolist() == MARKS.tolist()
    assert targets_of((TOKENS[:, :1], MARKS[:, :1]))["label"].shape == (4, 1)


class Bag(nn.Module):
    """A network of the bags of words of texts, which come in one row or in padded rows."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(9, 4, padding_idx=0), nn.Linear(4, 3)

    def forward(self, text: Tensor, offsets: Tensor | None = None) -> Tensor:
        return self.head(self.bag(text, offsets))


def test_offsets_of_bags_are_refused_with_a_remedy_that_works(tmp_path: Path) -> None:
    torch.manual_seed(0)
    texts = [torch.randint(1, 9, (k,)) for k in (3, 5, 1, 4, 2, 6)]
    row = torch.cat(texts)
    offsets = torch.tensor([0, *map(len, texts)]).cumsum(0)[:-1]
    network, given = Bag(), {"examples": 6, "overwrite": True}
    match = "21 whole numbers in one row, and 6 that say .* pad them to .n, length."
    for batch in (
        {"text": row, "offsets": offsets},
        (row, offsets),
        (torch.arange(6) % 2, row, offsets),
        {"text": row.numpy(), "offsets": offsets.numpy()},
    ):
        with pytest.raises(UsageError, match=match):
            repsim.harvest(network, [batch], tmp_path / "a.h5", **given)
    with pytest.raises(UsageError, match="3 whole numbers in one row, and 1 that say"):
        repsim.harvest(network, [(texts[0], offsets[:1])], tmp_path / "a.h5", **given)
    padded = nn.utils.rnn.pad_sequence(texts, batch_first=True)
    with repsim.harvest(network, [padded], tmp_path / "a.h5", **given) as store:
        right = network.bag(row, offsets).detach()
        np.testing.assert_allclose(store["bag"][:], right, atol=1e-6)
    for batch in ((padded, torch.arange(6)), {"text": padded, "offsets": None}):
        with repsim.harvest(network, [batch], tmp_path / "a.h5", **given) as store:
            np.testing.assert_allclose(store["bag"][:], right, atol=1e-6)


def test_ids_are_one_each() -> None:
    with pytest.raises(UsageError, match=r"4 examples came with ids of shape \(4, 2\)"):
        ids_of((X, torch.zeros(4).long(), MARKS[:, :2]))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.randn(8), "labels of float32, shape .8,.; expected a whole number each"),
        (torch.randint(2, 9, (8, 5)), "labels of shape .8, 5. that are not zeros and ones"),
    ],
)
def test_targets_that_are_no_labels_have_a_remedy_that_works(
    targets: Tensor, message: str, tmp_path: Path
) -> None:
    network, inputs = nn.Sequential(nn.Linear(6, 4)), torch.randn(8, 6)
    options: Any = {"examples": 8, "overwrite": True}
    with pytest.raises(UsageError, match=f"{message}.* give the inputs alone, .inputs,., or"):
        repsim.harvest(network, [(inputs, targets)], tmp_path / "a.h5", **options)
    for batch in ((inputs,), {"input": inputs}):
        with repsim.harvest(network, [batch], tmp_path / "a.h5", **options) as store:
            assert store["0"].shape == (8, 4)


MIXED = (torch.arange(8) % 3, torch.arange(8) % 2, 0.3)


@pytest.mark.parametrize("labels", [MIXED, list(MIXED), (*MIXED[:2], torch.tensor(0.3))])
def test_labels_of_a_mixup_are_refused_with_a_remedy_that_works(
    labels: Any, tmp_path: Path
) -> None:
    network, x = nn.Sequential(nn.Linear(6, 4)), torch.randn(8, 6)
    options: Any = {"examples": 8, "overwrite": True}
    said = (
        r"8 examples came with .tensor \(8,\), tensor \(8,\), (float|tensor). as labels, as mixup"
    )
    for given in (labels, {"label": labels[0], "mixed": labels}):
        with pytest.raises(UsageError, match=f"{said}.*give the inputs alone") as error:
            repsim.harvest(network, [(x, given)], tmp_path / "a.h5", **options)
        assert "\n" not in str(error.value)
    for batch in ((x,), (x, {"first": labels[0], "second": labels[1]})):
        with repsim.harvest(network, [batch], tmp_path / "a.h5", **options) as store:
            assert store["0"].shape == (8, 4)
    entries = {"input": x, "labels": labels}
    with pytest.warns(RepsimWarning, match=r"'labels' .tensor \(8,\), .* no labels .* left out"):
        repsim.harvest(network, [entries], tmp_path / "a.h5", **options).close()


def test_zeros_and_ones_may_be_floats(tmp_path: Path) -> None:
    """As a binary cross-entropy wants them, one an example."""
    network, inputs = nn.Sequential(nn.Linear(6, 4)), torch.randn(8, 6)
    labels = torch.tensor([0.0, 1, 1, 0, 1, 0, 0, 1])
    with repsim.harvest(network, [(inputs, labels)], tmp_path / "a.h5", examples=8) as store:
        assert store.labels.tolist() == labels.tolist()
