"""Short names in transformers, against the library's own hidden states and sums by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from language_models import DECODERS, LENGTHS, VOCABULARY, inputs, language_model, padded, taken
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import repsim
from repsim.activations import Capture, trace
from repsim.activations.capture.arguments import run
from repsim.activations.capture.tracing import addresses_of
from repsim.errors import StoreError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore::repsim.errors.RepsimWarning")


def tokens_of(kind: str) -> dict[str, Tensor]:
    batch = inputs(padded("right"))
    if kind not in ("gpt2", "llama", "gpt_neox", "gemma2"):
        del batch["position_ids"]
    if kind == "t5":
        batch["decoder_input_ids"] = batch["input_ids"][:, :5]
    return batch


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [*DECODERS, "opt"])
def test_the_stream_is_the_hidden_states_of_the_library(kind: str, dtype: torch.dtype) -> None:
    network, batch = language_model(kind).to(dtype), tokens_of(kind)
    with torch.no_grad():
        hidden = network(**batch, output_hidden_states=True).hidden_states
    found = taken(network, batch, "embed,resid.0,final_norm")
    assert list(found) == ["embed", "resid.0", "final_norm"]  # resid.1 comes before it is normed
    for ours, theirs in zip(found.values(), hidden, strict=True):
        assert ours.dtype == dtype
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_block_adds_its_attention_and_its_mlp(kind: str) -> None:
    network, batch = language_model(kind).double(), tokens_of(kind)
    found = taken(network, batch, "embed,resid.*,attn.*,mlp.*,final_norm")
    stream = found["embed"]
    for k in range(2):
        stream = stream + found[f"attn.{k}"] + found[f"mlp.{k}"]
        torch.testing.assert_close(found[f"resid.{k}"], stream, rtol=0, atol=1e-12)
        assert found[f"attn.{k}"].abs().mean() > 1e-4
    normed = [m for m in network.modules() if "Norm" in type(m).__name__][-1](found["resid.1"])
    torch.testing.assert_close(found["final_norm"], normed, rtol=0, atol=1e-12)


def test_parts_that_normalise_or_hold_the_stream_are_told_by_value() -> None:
    def part(kind: str, name: str) -> str:
        return addresses_of(trace(language_model(kind), tokens_of(kind), name))[name]

    assert part("gpt2", "attn.1") == "transformer.h.1.attn"
    assert part("gpt_neox", "mlp.0") == "gpt_neox.layers.0.mlp"
    assert part("gemma2", "attn.0") == "model.layers.0.post_attention_layernorm"
    assert part("bloom", "mlp.1") == "transformer.h.1.mlp.dense_4h_to_h"
    assert part("bert", "attn.1") == "encoder.layer.1.attention.output.dense"


def test_encoders_normalise_the_sum() -> None:
    network, batch = language_model("bert").double(), tokens_of("bert")
    found = taken(network, batch, "embed,resid.*,attn.*,mlp.*")
    with torch.no_grad():
        hidden = network(**batch, output_hidden_states=True).hidden_states
        for k, block in enumerate(network.encoder.layer):
            middle = block.attention.output.LayerNorm(hidden[k] + found[f"attn.{k}"])
            after = block.output.LayerNorm(middle + found[f"mlp.{k}"])
            torch.testing.assert_close(found[f"resid.{k}"], after, rtol=0, atol=1e-12)
            assert torch.equal(found[f"resid.{k}"], hidden[k + 1])


def test_two_stacks_are_told_apart() -> None:
    network, batch = language_model("t5").double(), tokens_of("t5")
    found = taken(network, batch, "*embed,*resid.*,*final_norm,decoder.*attn.1,*cross.1,*mlp.1")
    stream = found["decoder.resid.0"]
    for part in ("attn", "cross", "mlp"):
        stream = stream + found[f"decoder.{part}.1"]
    torch.testing.assert_close(found["decoder.resid.1"], stream, rtol=0, atol=1e-12)
    with torch.no_grad():
        theirs = network(**batch, output_hidden_states=True)
    assert torch.equal(found["encoder.final_norm"], theirs.encoder_hidden_states[-1])
    assert torch.equal(found["decoder.resid.0"], theirs.decoder_hidden_states[1])
    with pytest.raises(UsageError, match=r"no layer 'resid.0'; its short names are encoder.embed"):
        trace(network, batch, "resid.0")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.fc = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x, x, x)[0]
        return x + self.fc(x).relu()


def test_networks_of_ones_own() -> None:
    network = nn.Sequential(nn.Sequential(Block(), Block()), nn.LayerNorm(8)).double()
    x = torch.randn(4, 5, 8).double()
    found = taken(network, x, "resid.*,final_norm,1")
    assert torch.equal(found["final_norm"], network(x))
    assert torch.equal(found["1"], network(x))
    with pytest.raises(UsageError, match=r"'mlp.0': no outputs of the modules of a block, one of"):
        trace(network, x, "mlp.0")  # a ReLU that is no module comes before the sum


def test_a_modules_address_comes_before_a_short_name() -> None:
    network = nn.Sequential()
    network.embed, network.blocks = nn.Linear(8, 8), nn.Sequential(Block(), Block())
    assert addresses_of(trace(network, torch.randn(4, 5, 8), "embed")) == {"embed": "embed"}


@pytest.mark.parametrize(
    ("kind", "layer", "message"),
    [
        ("albert", "resid.0", "short names are of a list of blocks that run once"),
        ("opt", "mlp.0", "no outputs of the modules of a block, one of them called attention, add"),
        ("gpt2", "resid.2", "short names are embed, resid.0 to resid.1, final_norm, attn.0 to att"),
        ("gpt2", "transformer.h.7", "did you mean .transformer.h.1"),
    ],
)
def test_names_that_mean_nothing(kind: str, layer: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        trace(language_model(kind), tokens_of(kind), layer)
    assert "\n" not in str(caught.value)


# --- stores


@pytest.mark.parametrize("layer", ["all", "0", "resid.0"])
def test_a_network_of_one_module_has_no_names(layer: str) -> None:
    with pytest.raises(UsageError, match="GRU has no modules inside it, .* wrap it"):
        trace(nn.GRU(6, 9), torch.randn(7, 12, 6), layer)
    assert list(trace(nn.Sequential(nn.GRU(6, 9)), torch.randn(7, 12, 6), "all")) == ["0:0", "0:1"]


def test_a_store_says_where_its_layers_are(tmp_path: Path) -> None:
    given: dict[str, Any] = {"layers": "resid.*", "pooling": "last", "examples": len(LENGTHS)}
    for kind in ("gpt2", "llama"):
        network = language_model(kind)
        repsim.harvest(network, [padded("right")], tmp_path / f"{kind}.h5", **given).close()
    with (
        repsim.open_store(tmp_path / "gpt2.h5") as a,
        repsim.open_store(tmp_path / "llama.h5") as b,
    ):
        assert list(a.layers) == list(b.layers) == ["resid.0", "resid.1"]
        assert a.provenance()["addresses"]["resid.1"] == "transformer.h.1"
        assert a.describe()[1]["module"] == "GPT2Block"
        assert list(repsim.cka_map(a, b).layers_b) == ["resid.0", "resid.1"]
    network = language_model("gpt2")
    repsim.harvest(network, [padded("right")], tmp_path / "gpt2.h5", **given, resume=True).close()
    given["layers"] = ["transformer.h.0", "transformer.h.1"]
    with pytest.raises(StoreError, match="layers differ"):
        repsim.harvest(network, [padded("right")], tmp_path / "gpt2.h5", **given, resume=True)


class Largest(TorchDispatchMode):
    """The largest tensor that any operation makes, and the ends of all shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: set[int] = set()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(each, Tensor) and each.ndim == 3:
                self.ends.add(each.shape[-1])
                self.elements = max(self.elements, each.numel())
        return found


@pytest.mark.parametrize("layers", ["resid.*,final_norm", "transformer.h.1,transformer.ln_f"])
@pytest.mark.parametrize("tied", [True, False])
def test_no_logits_are_made(layers: str, tied: bool) -> None:
    network = language_model("gpt2", vocab_size=501, tie_word_embeddings=tied)
    batch = tokens_of("gpt2")
    with Largest() as whole:
        network(**batch)
    assert 501 in whole.ends
    meant = addresses_of(trace(network, batch, layers))
    with Capture(network, meant) as capture, Largest() as largest:
        capture.run(batch, whole=False)
        assert list(capture.take()) == list(meant)
    assert 501 not in largest.ends
    n, t = batch["input_ids"].shape
    assert largest.elements <= n * t * 4 * 32  # the widest part of an MLP


def test_keys_and_values_are_not_kept() -> None:
    network, batch = language_model("llama"), tokens_of("llama")
    assert network(**batch).past_key_values is not None
    assert run(network, batch).past_key_values is None


def test_nothing_behind_the_last_layer_runs() -> None:
    network = language_model("gpt2")
    network.transformer.h[1].forward = None
    with Capture(network, {"early": "transformer.h.0"}) as capture:
        capture.run(tokens_of("gpt2"), whole=False)
        assert capture.take()["early"].shape == (6, 8, 32)
    with Capture(network, {"early": "transformer.h.0"}) as capture, pytest.raises(TypeError):
        capture.run(tokens_of("gpt2"))


def test_logits_that_were_asked_for_are_stored(tmp_path: Path) -> None:
    network, batch = language_model("gpt2"), padded("right")
    given: dict[str, Any] = {"layers": "resid.0,lm_head", "pooling": "last", "examples": 6}
    with repsim.harvest(network, [batch], tmp_path / "logits.h5", **given) as store:
        assert store["lm_head"].shape == (6, VOCABULARY)
