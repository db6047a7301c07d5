"""Tokens of language models: first, last, by number and by mask, against each text alone."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from language_models import LENGTHS, language_model, padded, taken, texts
from torch import Tensor, nn

import repsim
from repsim.activations import plan_harvest
from repsim.activations.analyses.probe import probe_layers
from repsim.activations.capture.pooling import Pooling, PoolingRules
from repsim.errors import MismatchError, RepsimWarning, ShapeError, UsageError

N = len(LENGTHS)
LAYERS = "embed,resid.0,attn.1,mlp.1,final_norm"
FAMILIES = ("gpt2", "llama", "gpt_neox")


def batches(side: str, size: int = 4, **entries: Tensor) -> list[dict[str, Any]]:
    """The texts in batches, each padded to a length of its own."""
    found = []
    for start in range(0, N, size):
        rows = slice(start, start + size)
        batch = padded(side, 8 if start == 0 else 9)
        batch = {name: each[rows] for name, each in {**batch, **entries}.items()}
        found.append(batch)
    return found


@functools.cache
def alone(kind: str) -> list[dict[str, Tensor]]:
    """The layers (tokens, d) of each text, which a network reads alone and without padding."""
    network = language_model(kind)
    each = (taken(network, {"input_ids": torch.tensor([text])}, LAYERS) for text in texts())
    return [{name: x[0].double() for name, x in found.items()} for found in each]


def harvest(network: nn.Module, loader: Any, path: Path, pooling: str, **given: Any) -> Any:
    given = {"layers": LAYERS, "examples": N, **given}
    return repsim.harvest(network, loader, path, pooling=pooling, **given)


def by_hand(pooling: str) -> Callable[[Tensor], Tensor]:
    hands: dict[str, Callable[[Tensor], Tensor]] = {
        "first": lambda x: x[0],
        "last": lambda x: x[-1],
        "token:0": lambda x: x[0],
        "token:-1": lambda x: x[-1],
        "avg": lambda x: x.sum(0) / len(x),
    }
    return hands[pooling]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("kind", "pooling"),
    [
        *(("gpt2", pooling) for pooling in ("first", "last", "token:0", "token:-1", "avg")),
        *((kind, pooling) for kind in ("llama", "gpt_neox") for pooling in ("last", "avg")),
    ],
)
def test_padding_on_either_side_counts_for_nothing(
    kind: str, pooling: str, side: str, tmp_path: Path
) -> None:
    network = language_model(kind)
    hand = alone(kind)
    with harvest(network, batches(side), tmp_path / "a.h5", pooling) as store:
        assert [each.decode() for each in store.example_ids] == [f"text/{k}" for k in range(N)]
        for layer in store.layers:
            wanted = torch.stack([by_hand(pooling)(text[layer]) for text in hand])
            torch.testing.assert_close(
                torch.from_numpy(store[layer][:]).double(), wanted, rtol=1e-4, atol=1e-5
            )
        assert store.provenance()["pooling"] == pooling


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("number", [2, -3])
def test_tokens_are_counted_among_those_that_are_real(
    number: int, side: str, tmp_path: Path
) -> None:
    network = language_model("llama")
    long = [k for k, length in enumerate(LENGTHS) if length > 2]
    batch = {name: [each[k] for k in long] for name, each in padded(side).items()}
    for name in ("input_ids", "attention_mask", "position_ids"):
        batch[name] = torch.stack(batch[name])
    given: dict[str, Any] = {"examples": len(long)}
    with harvest(network, [batch], tmp_path / "a.h5", f"token:{number}", **given) as store:
        hand = alone("llama")
        wanted = torch.stack([hand[k]["resid.0"][number] for k in long])
        torch.testing.assert_close(
            torch.from_numpy(store["resid.0"][:]).double(), wanted, rtol=1e-4, atol=1e-5
        )


def test_a_token_that_a_text_has_not_is_refused(tmp_path: Path) -> None:
    message = "layer 'embed': example 3 of a batch has 1 token that counts, and so no token 2"
    for pooling in ("token:2", "token:-3"):
        with pytest.raises(ShapeError, match=message.replace("no token 2", "no token")):
            path = tmp_path / f"{pooling[6:]}.h5"
            harvest(language_model("gpt2"), batches("right"), path, pooling)


def test_a_text_of_padding_alone_has_no_average(tmp_path: Path) -> None:
    loader = batches("right")
    loader[1]["attention_mask"][1] = 0
    with pytest.raises(ShapeError, match="all tokens of example 1 of a batch are padding"):
        harvest(language_model("gpt2"), loader, tmp_path / "a.h5", "avg", layers="embed")


def test_a_text_of_padding_alone_has_no_rows(tmp_path: Path) -> None:
    loader, network = batches("right"), language_model("gpt2")
    loader[1]["attention_mask"][1] = 0
    with pytest.raises(ShapeError, match="example 1 of batch 2 has no token that counts") as error:
        harvest(network, loader, tmp_path / "a.h5", "positions", layers="embed")
    assert "\n" not in str(error.value)
    with pytest.raises(ShapeError, match="example 1 of the first batch has no token"):
        repsim.compare(
            network,
            network,
            loader[1:],
            layers_a="embed",
            layers_b="embed",
            pooling="positions",
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_halves_are_summed_in_floats(
    kind: str, side: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    network, loader = language_model(kind).to(dtype), batches(side, N)
    batch = {name: each for name, each in loader[0].items() if name != "ids"}
    with torch.no_grad():
        hidden = network(**batch, output_hidden_states=True).hidden_states
    given: dict[str, Any] = {"layers": "embed,resid.0,final_norm", "dtype": "float32"}
    mask = batch["attention_mask"].bool()
    for pooling in ("avg", "last"):
        path = tmp_path / f"{pooling}.h5"
        with harvest(network, loader, path, pooling, **given) as store:
            for layer, x in zip(store.layers, hidden, strict=True):
                hand = by_hand(pooling)
                wanted = torch.stack([hand(x[k, mask[k]].double()) for k in range(N)])
                kept = torch.from_numpy(store[layer][:]).double()
                torch.testing.assert_close(kept, wanted, rtol=1e-6, atol=1e-7)


def test_large_halves_have_a_mean() -> None:
    x = torch.full((1, 4000, 2), 300.0, dtype=torch.float16)
    mask = torch.ones(1, 4000)
    found = Pooling("avg")(x, mask=mask)
    assert found.tolist() == [[300.0, 300.0]]  # though the sum is beyond float16


# --- masks of the batches


def answers(side: str, length: int) -> Tensor:
    """The second half of each text, of its real tokens, and the whole of one of a single token."""
    mask = padded(side, length)["attention_mask"]
    number = mask.cumsum(1) - 1
    half = torch.tensor(LENGTHS)[:, None] // 2
    return mask * (number >= half)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("step", ["avg", "first", "last", "token:-1"])
def test_a_mask_chooses_the_tokens(side: str, step: str, tmp_path: Path) -> None:
    network = language_model("gpt_neox")
    loader = [{**padded(side), "answer": answers(side, 8)}]
    hand = alone("gpt_neox")
    with harvest(network, loader, tmp_path / "a.h5", f"mask:answer+{step}") as store:
        for layer in store.layers:
            parts = [text[layer][len(text[layer]) // 2 :] for text in hand]
            wanted = torch.stack([by_hand(step)(part) for part in parts])
            torch.testing.assert_close(
                torch.from_numpy(store[layer][:]).double(), wanted, rtol=1e-4, atol=1e-5
            )
        assert store.provenance()["pooling"] == f"mask:answer+{step}"


def test_a_mask_is_no_input_of_the_network(tmp_path: Path) -> None:
    network, seen = language_model("gpt2"), []
    network.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(set(kwargs)), with_kwargs=True
    )
    loader = [{**padded("right"), "answer": answers("right", 8)}]
    harvest(network, loader, tmp_path / "a.h5", "mask:answer+last").close()
    assert seen
    assert not any("answer" in names for names in seen)
    plain = [padded("right")]
    harvest(network, plain, tmp_path / "b.h5", "last").close()
    with repsim.open_store(tmp_path / "a.h5") as a, repsim.open_store(tmp_path / "b.h5") as b:
        np.testing.assert_array_equal(a.inputs, b.inputs)


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (None, UsageError, "needs an entry 'answer' in each batch; the first batch has input_ids"),
        (torch.zeros(N, 8), ShapeError, "the mask 'answer' leaves no token of example 0"),
        (
            torch.full((N, 8), 2),
            UsageError,
            "needs zeros and ones .*; the first batch has",
        ),
        (torch.ones(N), UsageError, r"the first batch has torch.float32 of shape \(6,\)"),
        (torch.ones(N, 5), ShapeError, "'embed' has 8 tokens, the mask 'answer' 5; give the layer"),
    ],
)
def test_masks_that_do_not_fit(
    mask: Tensor | None, error: type[Exception], message: str, tmp_path: Path
) -> None:
    batch = padded("right") if mask is None else {**padded("right"), "answer": mask}
    with pytest.raises(error, match=message) as caught:
        harvest(language_model("gpt2"), [batch], tmp_path / "a.h5", "mask:answer+avg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mask:answer", "mask:NAME says which tokens, and needs a step that takes them: avg, cls"),
        ("mask:+avg", "expected mask:NAME with the name of an entry"),
        ("token", "expected token:K with a whole number K, negative from the end"),
        ("token:-0", "'token:-0' is not understood"),
        ("first:2", "'first:2' is not understood; expected first"),
    ],
)
def test_steps_that_are_not_understood(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PoolingRules(text)


# --- a row for each token


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("answer", [False, True])
def test_each_real_token_is_a_row(side: str, answer: bool, tmp_path: Path) -> None:
    network = language_model("llama")
    loader = [{**padded(side), "answer": answers(side, 8)}]
    pooling = "mask:answer+positions" if answer else "positions"
    if not answer:
        loader = batches(side)
    starts = [length // 2 if answer else 0 for length in LENGTHS]
    with harvest(network, loader, tmp_path / "a.h5", pooling) as store:
        ids = [f"text/{k}#{i}" for k, n in enumerate(LENGTHS) for i in range(starts[k], n)]
        assert [each.decode() for each in store.example_ids] == ids
        assert store.n == len(ids)
        hand = alone("llama")
        for layer in store.layers:
            wanted = torch.cat([text[layer][s:] for text, s in zip(hand, starts, strict=True)])
            torch.testing.assert_close(
                torch.from_numpy(store[layer][:]).double(), wanted, rtol=1e-4, atol=1e-5
            )


def test_labels_of_a_text_are_those_of_its_tokens(tmp_path: Path) -> None:
    batch = padded("left")
    ids, labels = batch.pop("ids"), torch.arange(N)
    loader = [(batch, labels, ids)]
    with harvest(language_model("gpt2"), loader, tmp_path / "a.h5", "positions") as store:
        assert store.labels.tolist() == np.repeat(np.arange(N), LENGTHS).tolist()


def test_tokens_of_two_families_are_compared(tmp_path: Path) -> None:
    stores = []
    for kind, side in (("gpt2", "left"), ("gpt_neox", "right")):
        path = tmp_path / f"{kind}.h5"
        stores.append(harvest(language_model(kind), batches(side), path, "positions"))
    with pytest.warns(RepsimWarning, match="other inputs|preprocessing"):
        found = repsim.cka_map(*stores)  # the padding differs
    assert np.isfinite(found.unbiased).all()
    for store in stores:
        store.close()


def test_rows_of_tokens_resume(tmp_path: Path) -> None:
    network, path = language_model("gpt2"), tmp_path / "a.h5"

    def stop(done: int, total: int, note: str) -> None:
        if done == 4:
            raise KeyboardInterrupt

    whole = harvest(network, batches("right", 2), tmp_path / "whole.h5", "positions")
    with pytest.raises(KeyboardInterrupt):
        harvest(network, batches("right", 2), path, "positions", progress=stop)
    with harvest(network, batches("right", 2), path, "positions", resume=True) as store:
        assert np.array_equal(store["resid.0"][:], whole["resid.0"][:])
        assert store.n == sum(LENGTHS)
    with harvest(network, batches("right", 2), path, "positions", resume=True) as store:
        assert store.n == sum(LENGTHS)
    whole.close()


def test_tokens_are_counted_beforehand(tmp_path: Path) -> None:
    plan = plan_harvest(
        language_model("gpt2"), batches("left"), layers=LAYERS, pooling="positions", examples=N
    )
    assert plan.n == sum(LENGTHS)
    with pytest.raises(UsageError, match="can be read only once; pass a list of batches"):
        harvest(language_model("gpt2"), iter(batches("left")), tmp_path / "a.h5", "positions")


# --- positions


def shifted(network: nn.Module, side: str, path: Path, *, told: bool) -> list[str]:
    """Warnings of a harvest with or without position_ids."""
    batch = padded(side)
    if not told:
        del batch["position_ids"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RepsimWarning)
        harvest(network, [batch], path, "last").close()
    return [str(each.message) for each in caught]


def test_positions_that_padding_moves_are_said(tmp_path: Path) -> None:
    gpt2 = language_model("gpt2")
    (warning,) = shifted(gpt2, "left", tmp_path / "a.h5", told=False)
    assert warning.startswith("layer 'embed' gives a text other values where padding stands in fro")
    assert not shifted(gpt2, "left", tmp_path / "b.h5", told=True)
    assert not shifted(gpt2, "right", tmp_path / "c.h5", told=False)
    for kind in ("llama", "gpt_neox"):  # distances alone
        for dtype in (torch.float32, torch.bfloat16):
            path = tmp_path / f"{kind}-{dtype}.h5"
            assert not shifted(language_model(kind).to(dtype), "left", path, told=False)


# --- stored with their padding


def labelled(side: str, name: str) -> list[Any]:
    batch = padded(side)
    ids = [f"{name}/{k}" for k in range(N)]
    return [({key: each for key, each in batch.items() if key != "ids"}, torch.arange(N) % 2, ids)]


def test_stored_padding_is_not_averaged_by_probes(tmp_path: Path) -> None:
    network, given = language_model("gpt2"), {"layers": "resid.0,resid.1", "examples": N}
    for part in ("train", "test"):
        path, rules = tmp_path / f"{part}.h5", {"resid.0": "none", "*": "last"}
        with pytest.warns(RepsimWarning, match="'resid.0' is kept with the tokens that are padd"):
            repsim.harvest(network, labelled("left", part), path, pooling=rules, **given).close()
    with (
        repsim.open_store(tmp_path / "train.h5") as train,
        repsim.open_store(tmp_path / "test.h5") as test,
    ):
        assert train.provenance()["padding"] == {"resid.0": "attention_mask"}
        with pytest.raises(UsageError, match="'resid.0' of .* 'attention_mask' may call padding"):
            probe_layers(train, test, layers="resid.0")
        with pytest.raises(MismatchError, match="have the same inputs as"):  # past the padding
            probe_layers(train, test, layers="resid.1")


# --- networks compared as they run


@pytest.mark.parametrize("pooling", ["last", "avg", "token:0", "mask:answer+avg", "positions"])
def test_networks_are_compared_by_token(pooling: str) -> None:
    kinds = ("gpt2", "llama")
    networks = [language_model(kind) for kind in kinds]
    loader = [{**padded("left"), "answer": answers("left", 8)}]
    found = repsim.compare(*networks, loader, layers_a=LAYERS, layers_b=LAYERS, pooling=pooling)
    rows: dict[str, Callable[[Tensor], Tensor]] = {
        "mask:answer+avg": lambda x: x[len(x) // 2 :].mean(0, keepdim=True),
        "positions": lambda x: x,
    }
    row = rows.get(pooling, lambda x: by_hand(pooling)(x)[None])
    hands = [
        {name: torch.cat([row(text[name]) for text in alone(kind)]) for name in found.layers_a}
        for kind in kinds
    ]
    engine = repsim.MinibatchCKA(list(found.layers_a), list(found.layers_b))
    engine.update(*hands)
    np.testing.assert_allclose(found.unbiased, engine.compute().unbiased, atol=1e-4)
    assert found.provenance["pooling"] == pooling
    assert found.layers_a == found.layers_b


def test_padding_that_is_compared_is_said() -> None:
    network = language_model("gpt2")
    given: dict[str, Any] = {"layers_a": "resid.0", "layers_b": "resid.1"}
    with (
        pytest.warns(RepsimWarning, match="'resid.0' is kept with the tokens that are padding"),
        pytest.warns(RepsimWarning, match="'resid.1' is kept with the tokens that are padding"),
    ):
        found = repsim.compare(network, network, [padded("left")], **given)
    assert "pooling" not in found.provenance
    rules = {"resid.0": "last", "resid.1": "avg"}
    repsim.compare(network, network, [padded("left")], pooling=rules, **given)
    with pytest.raises(UsageError, match=r"rule 'resid.2' is never used: it matches none of resid"):
        repsim.compare(network, network, [padded("left")], pooling={"resid.2": "last"}, **given)


# --- texts without a mask


def unmasked(network: nn.Module, pooling: str, path: Path, **given: Any) -> list[str]:
    """The warnings of a harvest of texts of one length without a mask."""
    ids = torch.randint(1, 40, (N, 6), generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", RepsimWarning)
        harvest(network, [{"input_ids": ids}], path, pooling, overwrite=True, **given).close()
    return [str(each.message) for each in said]


@pytest.mark.parametrize("pooling", ["avg", "first", "last", "token:1", "positions"])
def test_texts_that_may_be_padded_unseen_are_said_once(pooling: str, tmp_path: Path) -> None:
    network, path = language_model("gpt2"), tmp_path / "a.h5"
    ambiguous, known = language_model("gpt2"), language_model("gpt2")
    network.config.pad_token_id = None
    ambiguous.config.pad_token_id = ambiguous.config.eos_token_id = 3
    known.config.pad_token_id, known.config.eos_token_id = 0, 3
    for unsaid in (network, ambiguous):
        (said,) = unmasked(unsaid, pooling, path)
        assert "nothing says if 'input_ids' has padding" in said
        assert "give a mask in the batch, such as attention_mask" in said
        assert unmasked(unsaid, pooling, path, masks={"*": "none"}) == []
    assert unmasked(known, pooling, path) == []
    assert unmasked(network, "none", path) == []


@pytest.mark.filterwarnings("ignore:the 4 examples of the loader have")
def test_texts_of_a_plain_network_are_said_too(tmp_path: Path) -> None:
    network, ids = nn.Sequential(nn.Embedding(9, 4), nn.Tanh()), torch.arange(12).view(4, 3) % 9
    given = {"layers": "1", "pooling": "last", "examples": 4}
    with pytest.warns(RepsimWarning, match="no token of Sequential stands for padding alone"):
        repsim.harvest(network, [ids], tmp_path / "a.h5", **given).close()
    batch = {"input": ids, "own": torch.ones(4, 3)}
    repsim.harvest(network, [batch], tmp_path / "b.h5", masks="own:tokens", **given).close()
    with pytest.warns(RepsimWarning, match="nothing says if 'input' has padding"):
        repsim.compare(network, network, [ids], pooling="avg")


def filled(lengths: tuple[int, ...], token: int, side: str = "right") -> dict[str, Tensor]:
    """Texts of these lengths, filled up to the longest, without a mask."""
    found = torch.full((len(lengths), max(lengths)), token)
    generator = torch.Generator().manual_seed(5)
    for row, length in zip(found, lengths, strict=True):
        place = slice(0, length) if side == "right" else slice(len(row) - length, len(row))
        row[place] = torch.randint(4, 50, (length,), generator=generator)
    return {"input_ids": found}


def said_of(network: nn.Module, loader: list[Any], path: Path, **given: Any) -> list[str]:
    """The warnings of a harvest of the last tokens of eight texts."""
    given = {"layers": "resid.1", "examples": 8, "overwrite": True, "pooling": "last", **given}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", RepsimWarning)
        repsim.harvest(network, loader, path, **given).close()
    return [str(each.message) for each in said]


UNSAID = ("gpt2", None), ("llama", 0)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("kind", "pad"), UNSAID)
def test_texts_filled_with_their_end_are_refused(
    kind: str, pad: int | None, side: str, tmp_path: Path
) -> None:
    """Padding of ``tokenizer.pad_token = tokenizer.eos_token``, without the mask."""
    network = language_model(kind)
    network.config.pad_token_id = pad
    first, path = filled((5, 5, 5, 5), 2), tmp_path / "a.h5"
    loader = [first, filled((3, 5, 2, 4), 2, side)]
    with pytest.raises(UsageError, match=r"with padding \(input_ids\) in batch 2, and noth"):
        said_of(network, loader, path)
    with pytest.raises(UsageError, match=r"with padding \(input_ids\), and nothing says"):
        repsim.compare(
            network, network, loader[1:], layers_a="resid.1", layers_b="resid.1", pooling="avg"
        )
    assert said_of(network, loader, path, masks="*=none") == []
    masked = [{**each, "attention_mask": (each["input_ids"] != 2).long()} for each in loader]
    assert not any("nothing says" in each for each in said_of(network, masked, path))
    assert any(
        "kept with the tokens that are padding" in each
        for each in said_of(network, loader, path, pooling="none")
    )


@pytest.mark.parametrize(("kind", "pad"), UNSAID)
def test_texts_may_end_in_one_end(kind: str, pad: int | None, tmp_path: Path) -> None:
    network = language_model(kind)
    network.config.pad_token_id = pad
    first, second = filled((5, 5, 5, 5), 2), filled((6, 6, 6, 6), 2)
    first["input_ids"][:, -1] = second["input_ids"][:2, -1] = 2  # and two texts that were cut
    said = said_of(network, [first, second], tmp_path / "a.h5")
    assert len(said) == (pad is None)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("token", [0, 3])
def test_texts_filled_with_another_token_than_that_of_padding(
    token: int, side: str, tmp_path: Path
) -> None:
    """Zeros from ``pad_sequence``, for example, instead of the network's token for padding."""
    network = language_model("opt", pad_token_id=1, bos_token_id=2)
    path, first = tmp_path / "a.h5", filled((3, 5, 2, 4), token, side)
    loader = [first, filled((5, 6, 3, 4), token, side)]
    for pooling in ("last", "avg", "none"):
        with pytest.raises(UsageError, match="'input_ids' comes in lengths of 5 and 6, filled up"):
            said_of(network, loader, path, pooling=pooling)
    (said,) = said_of(network, [filled((5, 5, 5, 5), 2), first], path)
    assert "nothing says if 'input_ids' has padding" in said
    assert "texts in it end or begin as if padded, with another token than OPTForCausalLM" in said
    assert said_of(network, loader, path, masks="*=none") == []
    plain = [filled((5, 5, 5, 5), 2), filled((6, 6, 6, 6), 2)]
    assert said_of(network, plain, path) == []


def test_one_of_several_ends_is_no_padding_alone(tmp_path: Path) -> None:
    network = language_model("llama", pad_token_id=3, eos_token_id=[2, 3])
    (said,) = said_of(network, [filled((5,) * 8, 2)], tmp_path / "a.h5")
    assert "texts in it end or begin as if padded" in said


def test_rows_of_tokens_name_the_batch_without_a_mask(tmp_path: Path) -> None:
    network, batch = language_model("gpt2"), padded("right")
    del batch["ids"]
    plain = {name: each for name, each in batch.items() if name != "attention_mask"}
    with pytest.raises(UsageError, match="batch 2 is without 'attention_mask'"):
        harvest(network, [batch, plain], tmp_path / "a.h5", "positions", examples=2 * N)
    marked = [{**batch, "answer": answers("right", 8)}, batch]
    with pytest.raises(UsageError, match="'answer' in each batch; batch 2 has input_ids"):
        harvest(network, marked, tmp_path / "b.h5", "mask:answer+avg", examples=2 * N)


def test_positions_of_maps_are_rows_too() -> None:
    network, images = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1)), torch.randn(24, 1, 4, 4)
    found = repsim.compare(network, network, images.split(8), pooling="grid:2+positions")
    assert found.n == 24 * 4
    engine = repsim.MinibatchCKA(["0"], ["0"])
    for part in images.split(8):
        cells = nn.functional.adaptive_avg_pool2d(network(part), 2).detach()
        rows = cells.flatten(2).transpose(1, 2).flatten(0, 1)
        engine.update({"0": rows}, {"0": rows})
    np.testing.assert_allclose(found.unbiased, engine.compute().unbiased, atol=1e-6)
