"""Masks of padding: the layers that each belongs to, against sums over tokens by hand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from libraries import working_transformers
from torch import Tensor, nn

import repsim
from repsim.activations import plan_harvest
from repsim.errors import RepsimWarning, StoreError, UsageError

N, T = 8, 6
LENGTHS = torch.tensor([6, 2, 3, 6, 1, 4, 5, 2])
MASK = (torch.arange(T) < LENGTHS[:, None]).long()
OTHER = MASK.flip(0)
IDS = torch.randint(3, 50, (N, T), generator=torch.Generator().manual_seed(0))
IDS_2 = torch.randint(3, 50, (N, T), generator=torch.Generator().manual_seed(1))
X = torch.randn(N, T, 16, generator=torch.Generator().manual_seed(2))
Y = torch.randn(N, T, 16, generator=torch.Generator().manual_seed(3))


def average(values: Tensor, mask: Tensor | None) -> np.ndarray:
    """The averages of the tokens of each example, one after the other."""
    if mask is None:
        return values.mean(1).detach().numpy()
    kept = [each[one.bool()].mean(0) for each, one in zip(values, mask, strict=True)]
    return torch.stack(kept).detach().numpy()


def harvested(
    model: nn.Module, batch: dict[str, Any], layer: str, path: Path, **more: Any
) -> np.ndarray:
    with repsim.harvest(
        model.eval(), [batch], path / "a.h5", examples=N, layers=layer, pooling="avg", **more
    ) as store:
        return np.asarray(store[layer][:])


def refused(model: nn.Module, batch: dict[str, Any], layer: str, path: Path, match: str) -> None:
    with pytest.raises(UsageError, match=match) as error:
        harvested(model, batch, layer, path)
    assert "\n" not in str(error.value)
    assert not (path / "a.h5").exists()


def values_of(model: nn.Module, layer: str, batch: dict[str, Any]) -> Tensor:
    """The output of a layer, by a hook."""
    found: list[Any] = []
    with torch.no_grad():
        handle = model.get_submodule(layer).register_forward_hook(lambda *a: found.append(a[2]))
        model.eval()(**batch)
        handle.remove()
    return found[0][0] if isinstance(found[0], tuple) else found[0]


def check_average(
    model: nn.Module,
    batch: dict[str, Any],
    layer: str,
    path: Path,
    mask: Tensor | None,
    *,
    atol: float = 1e-5,
    **more: Any,
) -> None:
    """Compare a stored average with the one by hand; the store is removed."""
    expected = average(values_of(model, layer, batch), mask)
    found = harvested(model, batch, layer, path, **more)
    np.testing.assert_allclose(found, expected, atol=atol)
    (path / "a.h5").unlink()


# --- networks of transformers


def t5(kind: str = "T5Model") -> nn.Module:
    transformers = working_transformers()
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=50,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
    )
    return getattr(transformers, kind)(config).eval()


SEQUENCES = {
    "input_ids": IDS,
    "attention_mask": MASK,
    "decoder_input_ids": IDS_2,
    "decoder_attention_mask": OTHER,
}


def test_each_side_of_an_encoder_and_decoder_has_its_own_mask(tmp_path: Path) -> None:
    model = t5()
    masks = {
        "encoder.final_layer_norm": MASK,
        "encoder.block.1.layer.0.SelfAttention.k": MASK,
        "decoder.final_layer_norm": OTHER,
        "decoder.block.0.layer.1.EncDecAttention.o": OTHER,  # the side that queries
        "decoder.block.0.layer.1.EncDecAttention.v": MASK,  # the memory that it reads
    }
    options = {"layers": list(masks), "pooling": "avg", "examples": N}
    with repsim.harvest(model, [SEQUENCES], tmp_path / "a.h5", **options) as store:
        for layer, mask in masks.items():
            expected = average(values_of(model, layer, SEQUENCES), mask)
            np.testing.assert_allclose(store[layer][:], expected, atol=1e-5)


def test_a_decoder_without_a_mask_is_averaged_whole(tmp_path: Path) -> None:
    batch = {name: each for name, each in SEQUENCES.items() if name != "decoder_attention_mask"}
    model, layer = t5(), "decoder.final_layer_norm"
    check_average(model, batch, layer, tmp_path, None)


def test_labels_that_a_loss_leaves_out_are_padding_of_the_decoder(tmp_path: Path) -> None:
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": IDS_2}
    model, layer = t5("T5ForConditionalGeneration"), "decoder.final_layer_norm"
    check_average(model, batch, layer, tmp_path, None)
    padded = {**batch, "labels": IDS_2.masked_fill(OTHER == 0, -100)}
    proposal = rf"--masks '{layer}=labels' \(masks=.*\) to leave out positions whose label is below"
    refused(model, padded, layer, tmp_path, f"with padding .labels., and nothing.* {proposal}")
    for said in ("decoder.*=labels", {layer: "labels:negative"}):
        check_average(model, padded, layer, tmp_path, OTHER, masks=said)
    told = {**padded, "own": OTHER}
    expected = average(values_of(model, layer, padded), OTHER)
    found = harvested(model, told, layer, tmp_path, masks={layer: "own:tokens"})
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_names_tell_masks_of_one_length_apart(kind: str, tmp_path: Path) -> None:
    """Labels become inputs of the decoder, which has as many tokens as the encoder."""
    model = t5("T5ForConditionalGeneration") if kind == "t5" else bart()
    ends = {
        "t5": ("encoder.final_layer_norm", "decoder.final_layer_norm"),
        "bart": ("model.encoder.layers.0", "model.decoder.layers.0"),
    }
    labels = IDS_2.masked_fill(OTHER == 0, -100)
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": labels}
    both = {**batch, "decoder_attention_mask": OTHER}
    check_average(model, both, ends[kind][0], tmp_path, MASK)
    check_average(model, both, ends[kind][1], tmp_path, OTHER)
    del both["attention_mask"]
    both["input_ids"] = torch.where(MASK == 1, IDS, model.config.pad_token_id)
    why = "decoder_attention_mask, .*, which have one length, and nothing says which"
    offer = rf"--masks '{ends[kind][1]}=decoder_attention_mask' .* if that is its mask, or"
    refused(model, both, ends[kind][1], tmp_path, f"{why}.*{offer}")
    check_average(
        model, both, ends[kind][1], tmp_path, OTHER, masks="decoder_attention_mask:tokens"
    )


def bart() -> nn.Module:
    transformers = working_transformers()
    torch.manual_seed(0)
    sides = {
        f"{side}_{name}": size
        for side in ("encoder", "decoder")
        for name, size in {"layers": 1, "attention_heads": 2, "ffn_dim": 32}.items()
    }
    config = transformers.BartConfig(
        vocab_size=50, d_model=16, max_position_embeddings=20, forced_eos_token_id=None, **sides
    )
    return transformers.BartForConditionalGeneration(config).eval()


def bert() -> nn.Module:
    transformers = working_transformers()
    torch.manual_seed(0)
    return transformers.BertModel(
        transformers.BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=20,
        )
    ).eval()


LAST = "encoder.layer.1.output.LayerNorm"


def test_an_encoder_with_several_inputs_of_one_sequence(tmp_path: Path) -> None:
    batch = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": (IDS > 25).long()}
    check_average(bert(), batch, LAST, tmp_path, MASK)


def test_tokens_that_pad_without_a_mask_are_refused(tmp_path: Path) -> None:
    padded = {"input_ids": IDS * MASK}  # 0 is the token of padding
    refused(bert(), padded, LAST, tmp_path, "padding .input_ids., and nothing .* 'NAME'")
    check_average(bert(), padded, LAST, tmp_path, None, masks=f"{LAST}=none")
    check_average(bert(), {"input_ids": IDS}, LAST, tmp_path, None)


def test_the_other_tower_has_no_padding(tmp_path: Path) -> None:
    transformers = working_transformers()
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    model = transformers.CLIPModel(
        transformers.CLIPConfig(
            # ten tokens, as many as patches with their class token
            text_config={
                **sizes,
                "vocab_size": 50,
                "max_position_embeddings": 12,
                "eos_token_id": 49,
                "bos_token_id": 48,
            },
            vision_config={**sizes, "image_size": 12, "patch_size": 4},
            projection_dim=8,
        )
    ).eval()
    mask = (torch.arange(10) < torch.tensor([10, 3, 5, 10, 2, 4, 9, 6])[:, None]).long()
    ids = torch.randint(3, 48, (N, 10)) * mask + 49 * (1 - mask)
    images = torch.randn(N, 3, 12, 12)
    batch = {"input_ids": ids, "attention_mask": mask, "pixel_values": images}
    for layer, own in (
        ("text_model.encoder.layers.1.mlp", mask),
        ("vision_model.encoder.layers.1.mlp", None),
    ):
        check_average(model, batch, layer, tmp_path, own)


def wav2vec2() -> nn.Module:
    transformers = working_transformers()
    torch.manual_seed(0)
    return transformers.Wav2Vec2Model(
        transformers.Wav2Vec2Config(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            conv_dim=(8, 8),
            conv_stride=(5, 2),
            conv_kernel=(10, 3),
            num_feat_extract_layers=2,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
        )
    ).eval()


def test_frames_have_the_mask_that_the_network_makes_of_samples(tmp_path: Path) -> None:
    samples = torch.tensor([400, 150, 200, 400, 60, 320, 399, 35])
    mask = (torch.arange(400) < samples[:, None]).long()
    batch = {"input_values": torch.randn(N, 400) * mask, "attention_mask": mask}
    layer = "encoder.layers.1.final_layer_norm"
    values = values_of(wav2vec2(), layer, batch)
    lengths = ((samples - 10) // 5 + 1 - 3) // 2 + 1
    frames = torch.arange(values.shape[1]) < lengths[:, None]
    found = harvested(wav2vec2(), batch, layer, tmp_path)
    np.testing.assert_allclose(found, average(values, frames), atol=1e-5)


def test_frames_before_the_last_convolution_are_refused(tmp_path: Path) -> None:
    mask = (torch.arange(400) < torch.arange(50, 401, 50)[:, None]).long()
    batch = {"input_values": torch.randn(N, 400), "attention_mask": mask}
    layer = "feature_extractor.conv_layers.0.conv"
    refused(wav2vec2(), batch, layer, tmp_path, r"gives \(8, 8, 79\) of inputs with padding")


# --- torch's own


def test_transformer_of_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
    batch = {
        "src": X,
        "tgt": Y,
        "src_mask": torch.zeros(T, T),
        "tgt_mask": nn.Transformer.generate_square_subsequent_mask(T),
        "src_key_padding_mask": MASK == 0,
        "tgt_key_padding_mask": torch.zeros(N, T).masked_fill(OTHER == 0, -torch.inf),
        "memory_key_padding_mask": MASK == 0,
    }
    for layer, own in (("encoder.norm", MASK), ("decoder.norm", OTHER)):
        check_average(model, batch, layer, tmp_path, own)


class Encoder(nn.Module):
    """An encoder of torch whose forward calls its mask as it likes, and reads it either way."""

    def __init__(self, *, inverted: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 3)
        self.inverted = inverted

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        padding_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        (given,) = (each for each in (mask, padding_mask, attention_mask) if each is not None)
        padding = given != 0 if self.inverted else given == 0
        return self.head(self.layer(x, src_key_padding_mask=padding))


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("name", ["mask", "padding_mask"])
def test_the_network_shows_which_values_of_a_mask_are_padding(
    name: str, inverted: bool, tmp_path: Path
) -> None:
    model = Encoder(inverted=inverted)
    batch = {"x": X, name: 1 - MASK if inverted else MASK}
    check_average(model, batch, "head", tmp_path, MASK)


def test_a_mask_that_is_read_against_its_name_is_said(tmp_path: Path) -> None:
    model, batch = Encoder(inverted=True), {"x": X, "attention_mask": 1 - MASK}
    with pytest.warns(RepsimWarning, match="'attention_mask' the other way: 1 marks padding"):
        check_average(model, batch, "head", tmp_path, MASK)


class Towers(nn.Module):
    """Two towers of one length, and a mask that one of them, both or none uses."""

    def __init__(self, uses: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.b = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.uses = uses

    def forward(self, left: Tensor, right: Tensor, attention_mask: Tensor) -> Any:
        padding = attention_mask == 0
        return tuple(
            getattr(self, name)(x, src_key_padding_mask=padding if name in self.uses else None)
            for name, x in (("a", left), ("b", right))
        )


@pytest.mark.parametrize("uses", ["a", "b", "ab"])
def test_towers_of_one_length_are_told_apart(uses: str, tmp_path: Path) -> None:
    model, batch = Towers(uses), {"left": X, "right": Y, "attention_mask": MASK}
    for layer in "ab":
        check_average(model, batch, layer, tmp_path, MASK if layer in uses else None)


def test_a_mask_that_could_be_that_of_either_tower_is_refused(tmp_path: Path) -> None:
    batch = {"left": X, "right": Y, "attention_mask": MASK}
    refused(Towers(""), batch, "b", tmp_path, "with padding .attention_mask.")
    check_average(Towers(""), batch, "b", tmp_path, MASK, masks="b=attention_mask")


# --- sequences that are cut short, and masks that are none


class Recurrent(nn.Module):
    """A recurrent network that packs its inputs by lengths, or goes through them backwards."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Linear(16, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, lengths: Any) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embed(x), torch.as_tensor(lengths), batch_first=True, enforce_sorted=False
        )
        return self.head(nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], True)[0])


class Flagged(nn.Module):
    """A network whose mask is not called one."""

    def __init__(self, *, padding: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.TransformerEncoderLayer(16, 2, 8, dropout=0.0, batch_first=True)
        self._padding = padding

    def forward(self, x: Tensor, **flags: Tensor) -> Tensor:
        (given,) = flags.values()
        return self.layer(x, src_key_padding_mask=given.bool() == self._padding)


@pytest.mark.parametrize(
    ("padding", "flags"),
    [
        (False, {"valid": MASK.bool()}),
        (True, {"is_pad": ~MASK.bool()}),
        (True, {"is_pad": 1 - MASK}),
        (False, {"keep": MASK}),
        (False, {"attn": MASK.float()}),
    ],
)
def test_flags_are_masks_whatever_they_are_called(
    padding: bool, flags: dict[str, Tensor], tmp_path: Path
) -> None:
    network, batch = Flagged(padding=padding), {"x": X, **flags}
    check_average(network, batch, "layer", tmp_path, MASK)


@pytest.mark.filterwarnings("ignore:the 8 examples of the loader have")
def test_flags_alone_are_inputs(tmp_path: Path) -> None:
    class Spins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 3)

        def forward(self, spins: Tensor) -> Tensor:
            return self.layer(torch.stack([spins, ~spins], 2).float())

    network, batch = Spins(), {"spins": MASK.bool()}
    check_average(network, batch, "layer", tmp_path, None, atol=1e-6)


class Packed(nn.Module):
    """A recurrent network that takes lengths under any name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.head = nn.LSTM(16, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor, **given: Tensor) -> Tensor:
        (lengths,) = given.values()
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        return self.head(nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], True)[0])


@pytest.mark.filterwarnings("ignore::repsim.errors.RepsimWarning")
@pytest.mark.parametrize(
    "name", ["lens", "x_len", "seq_len", "x_lens", "seq_length", "length", "Lengths", "len_x"]
)
@pytest.mark.parametrize("kind", [torch.int64, torch.float32])
def test_lengths_have_several_names(name: str, kind: torch.dtype, tmp_path: Path) -> None:
    network, batch = Packed(), {"x": X * MASK.unsqueeze(2), name: LENGTHS.to(kind)}
    check_average(network, batch, "head", tmp_path, MASK)


@pytest.mark.filterwarnings("ignore::repsim.errors.RepsimWarning")
@pytest.mark.parametrize("name", ["num_frames", "n_points", "sizes", "ends"])
def test_numbers_that_may_count_positions_are_refused_until_they_are_told(
    name: str, tmp_path: Path
) -> None:
    network, batch = Packed(), {"x": X * MASK.unsqueeze(2), name: LENGTHS}
    told = f"{name}:lengths"
    refused(network, batch, "head", tmp_path, rf"padding \({name}\).*--masks 'head={told}'")
    found = harvested(network, batch, "head", tmp_path, masks=f"head={told}")
    np.testing.assert_allclose(found, average(values_of(network, "head", batch), MASK), atol=1e-6)


COUNTS = {
    "float32": LENGTHS.float(),
    "float64": LENGTHS.double(),
    "column": LENGTHS[:, None],
    "column of float32": LENGTHS[:, None].float(),
    "numpy": LENGTHS[:, None].double().numpy(),
}


@pytest.mark.filterwarnings("ignore::repsim.errors.RepsimWarning")
@pytest.mark.parametrize("name", ["end", "num_frames", "duration"])
@pytest.mark.parametrize("kind", COUNTS)
def test_counts_of_positions_may_be_of_any_type_and_in_a_column(
    name: str, kind: str, tmp_path: Path
) -> None:
    network, batch = Measured(), {"x": X * MASK.unsqueeze(2), name: COUNTS[kind]}
    told = f"{name}:lengths"
    refused(network, batch, "layer", tmp_path, rf"padding \({name}\).*--masks 'layer={told}'")
    check_average(network, batch, "layer", tmp_path, MASK, masks=f"layer={told}")
    if name == "end":  # the others go by their names
        check_average(network, {**batch, "x": X}, "layer", tmp_path, None)


@pytest.mark.filterwarnings("ignore::repsim.errors.RepsimWarning")
@pytest.mark.parametrize("name", ["lengths", "seq_len"])
@pytest.mark.parametrize("kind", COUNTS)
def test_lengths_may_come_in_a_column(name: str, kind: str, tmp_path: Path) -> None:
    batch = {"x": X * MASK.unsqueeze(2), name: COUNTS[kind]}
    check_average(Measured(), batch, "layer", tmp_path, MASK)
    check_average(Measured(), batch, "layer", tmp_path, MASK, masks=f"*={name}")


@pytest.mark.parametrize("kind", [torch.int64, torch.float32])
def test_several_lengths_of_each_example_are_refused(kind: torch.dtype, tmp_path: Path) -> None:
    both = torch.stack([LENGTHS, LENGTHS.flip(0)], 1).to(kind)
    batch = {"x": X * MASK.unsqueeze(2), "lengths": both}
    refused(Measured(), batch, "layer", tmp_path, r"padding \(lengths\).*'layer=NAME'")
    with pytest.raises(UsageError, match=r"'lengths' is \(8, 2\).*expected one length of each"):
        harvested(Measured(), batch, "layer", tmp_path, masks="*=lengths")


@pytest.mark.filterwarnings("ignore::repsim.errors.RepsimWarning")
def test_the_longest_example_need_not_come_first(tmp_path: Path) -> None:
    network, order = Packed(), LENGTHS.argsort()
    batch = {"x": X[order], "lengths": LENGTHS[order]}
    check_average(network, batch, "head", tmp_path, MASK[order])


def test_lengths_as_shares_of_the_longest_are_refused(tmp_path: Path) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 3)

        def forward(self, x: Tensor, wav_lens: Tensor) -> Tensor:
            kept = torch.arange(T) < (T * wav_lens[:, None]).round()
            return self.layer(x * kept[..., None])

    batch = {"x": X, "wav_lens": LENGTHS / T}
    refused(Shared(), batch, "layer", tmp_path, r"padding \(wav_lens\)")


def test_what_comes_behind_the_inputs_is_no_condition(tmp_path: Path) -> None:
    class Conditional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 3)

        def forward(self, x: Tensor, y: Any = None) -> Tensor:
            return self.layer(x if y is None else x + y[:, None, None])

    batch = (X, torch.arange(N))
    with pytest.warns(
        RepsimWarning, match="behind the inputs .* taken for labels, and forward has"
    ):
        repsim.harvest(Conditional(), [batch], tmp_path / "a.h5", examples=N).close()


@pytest.mark.parametrize("named", [False, True])
def test_an_embedding_says_which_token_is_padding(named: bool, tmp_path: Path) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.layer = nn.Embedding(50, 4, padding_idx=0), nn.Linear(4, 3)

        def forward(self, words: Tensor) -> Tensor:
            return self.layer(self.embed(words))

    network, words = Words(), IDS * MASK
    batch = {"words": words} if named else words
    refused(network, batch, "layer", tmp_path, "with padding .words., and nothing says which")
    with repsim.harvest(
        network, [IDS], tmp_path / "a.h5", examples=N, layers="layer", pooling="avg"
    ) as store:
        np.testing.assert_allclose(store["layer"][:], average(network(IDS), None), atol=1e-6)


@pytest.mark.filterwarnings("ignore::repsim.errors.RepsimWarning")
@pytest.mark.parametrize("listed", [False, True])
def test_lengths_are_masks(listed: bool, tmp_path: Path) -> None:
    shorter = LENGTHS.clamp(max=5)  # shorter than the inputs in all examples
    lengths = shorter.tolist() if listed else shorter
    batch, mask = {"x": X, "lengths": lengths}, torch.arange(T) < shorter[:, None]
    for layer in ("embed", "head"):
        values = values_of(Recurrent(), layer, batch)
        expected = average(values, mask[:, : values.shape[1]])
        found = harvested(Recurrent(), batch, layer, tmp_path)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        (tmp_path / "a.h5").unlink()


@pytest.mark.parametrize("masks", [{}, {"masks": "*=lengths"}])
@pytest.mark.parametrize("lengths", [LENGTHS + 2, LENGTHS - 2])
@pytest.mark.parametrize("pooling", ["avg", "last", "positions"])
def test_lengths_beyond_the_positions_are_refused(
    pooling: str, lengths: Tensor, masks: str | None, tmp_path: Path
) -> None:
    batch = {"x": X, "lengths": lengths}
    match = (
        rf"holds lengths from {lengths.min()} to {lengths.max()}, and layer 'layer' gives \(8, 6"
    )
    with pytest.raises(UsageError, match=match) as error:
        repsim.harvest(Plain(), [batch], tmp_path / "a.h5", examples=N, pooling=pooling, **masks)
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match=match):
        repsim.compare(Plain(), Plain(), [batch], pooling=pooling, **masks)


def test_layers_that_go_backwards_have_no_mask(tmp_path: Path) -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(16, 4), nn.Linear(16, 4)

        def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
            return self.first(x) + self.second(x.flip(1))

    model, batch = Backwards(), {"x": X, "attention_mask": MASK}
    check_average(model, batch, "first", tmp_path, MASK)
    refused(model, batch, "second", tmp_path, "with padding .attention_mask.")


class Reordered(nn.Module):
    """Positions in another order, before a layer for each or one that mixes them."""

    def __init__(self, order: str, layer: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.layer, self.order = nn.Linear(16, 16), layer, order

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        return self.layer(self._ordered(self.embed(x)))

    def _ordered(self, x: Tensor) -> Tensor:
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        if self.order == "fixed":
            return x[:, order]
        if self.order == "selected":
            return x.index_select(1, order[order < x.shape[1]])
        if self.order == "sorted":
            return x.gather(1, x.sum(2).argsort(1).unsqueeze(2).expand_as(x))
        if self.order == "multiplied":
            return torch.eye(T)[order] @ x
        if self.order == "swapped":
            return torch.cat((x[:, 1:2], x[:, :1], x[:, 2:]), 1)
        return x


def _encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)


@pytest.mark.parametrize("order", ["fixed", "selected", "sorted", "multiplied", "swapped"])
@pytest.mark.parametrize("make", [lambda: nn.Linear(16, 4), _encoder])
def test_layers_with_positions_in_another_order_are_refused(
    order: str, make: Any, tmp_path: Path
) -> None:
    if order == "swapped" and make is _encoder:
        pytest.skip("two of six positions are no evidence in a layer that mixes all")
    model, batch = Reordered(order, make()).eval(), {"x": X, "attention_mask": MASK}
    check_average(model, batch, "embed", tmp_path, MASK)
    refused(model, batch, "layer", tmp_path, "layer 'layer' gives.*padding .attention_mask.")


@pytest.mark.filterwarnings("ignore:layer 'layer' gives an example other values with padding")
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(16, 4),
        _encoder,
        lambda: nn.Sequential(nn.Linear(16, 1), nn.ReLU()),
        lambda: nn.Sequential(_encoder(), nn.Linear(16, 1), nn.ReLU()),
    ],
)
def test_layers_with_positions_in_their_order_have_their_mask(make: Any, tmp_path: Path) -> None:
    model, batch = Reordered("", make()).eval(), {"x": X, "attention_mask": MASK}
    check_average(model, batch, "layer", tmp_path, MASK)


def test_a_layer_before_the_only_aggregation_of_a_graph_has_its_mask(tmp_path: Path) -> None:
    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.out = nn.Linear(16, 6), nn.Linear(6, 5)

        def forward(self, x: Tensor, adjacency: Tensor, attention_mask: Tensor) -> Tensor:
            found = self.out(adjacency @ self.embed(x))
            return (found * attention_mask.unsqueeze(2)).sum(1)

    both = MASK.unsqueeze(1) * MASK.unsqueeze(2)
    batch = {"x": X, "adjacency": torch.rand(N, T, T) * both, "attention_mask": MASK}
    for layer in ("embed", "out"):
        check_average(Graph(), batch, layer, tmp_path, MASK)


@pytest.mark.filterwarnings("ignore::repsim.errors.RepsimWarning")
@pytest.mark.parametrize(
    ("name", "value"), [("num_frames", LENGTHS), ("frame_mask", MASK), ("wavelength", LENGTHS)]
)
def test_masks_that_forward_does_not_take_are_asked_for(
    name: str, value: Tensor, tmp_path: Path
) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)

    batch = {"x": X * MASK.unsqueeze(2), name: value}
    refused(Plain(), batch, "layer", tmp_path, rf"with padding \({name}\)")


class Measured(nn.Module):
    """A number of each example that is no length of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 4)

    def forward(self, x: Tensor, **numbers: Tensor) -> Tensor:
        return self.layer(x)


@pytest.mark.parametrize("name", ["fork_length", "lens", "focal_len"])
def test_names_that_may_mean_other_lengths_are_asked_about(name: str, tmp_path: Path) -> None:
    network, real = Measured(), X * MASK.unsqueeze(2)
    refused(network, {"x": X, name: LENGTHS}, "layer", tmp_path, rf"--masks 'layer={name}:lengths'")
    check_average(network, {"x": X, name: LENGTHS}, "layer", tmp_path, None, masks="*=none")
    told = {"masks": f"*={name}:lengths"}
    check_average(network, {"x": X, name: LENGTHS}, "layer", tmp_path, MASK, **told)
    check_average(network, {"x": real, name: LENGTHS}, "layer", tmp_path, MASK)  # zeros behind
    refused(network, {"x": X, name: 9 * LENGTHS}, "layer", tmp_path, "holds lengths from 9 to 54")


def test_numbers_that_are_as_large_as_an_input_is_long_are_no_lengths(tmp_path: Path) -> None:
    network, real = Measured(), X * MASK.unsqueeze(2)
    check_average(network, {"x": X, "age": LENGTHS}, "layer", tmp_path, None)
    refused(network, {"x": real, "age": LENGTHS}, "layer", tmp_path, r"with padding \(age\)")


def test_a_wavelength_is_no_length(tmp_path: Path) -> None:
    batch = {"x": X, "wavelength": LENGTHS - 1 + (LENGTHS == 1)}

    class Coloured(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 4)

        def forward(self, x: Tensor, wavelength: Tensor) -> Tensor:
            return self.layer(x)

    check_average(Coloured(), batch, "layer", tmp_path, None)


def test_images_that_are_filled_up_get_one_warning(tmp_path: Path) -> None:
    sizes = [(5, 6), (7, 4), (6, 6), (4, 8), (9, 5), (6, 9), (8, 8), (5, 5)]
    images = [torch.randn(3, *size) for size in sizes]

    def filled(some: list[Tensor]) -> Tensor:
        height, width = (max(each.shape[k] for each in some) for k in (1, 2))
        ends = [(0, width - each.shape[2], 0, height - each.shape[1]) for each in some]
        return torch.stack(
            [nn.functional.pad(each, end) for each, end in zip(some, ends, strict=True)]
        )

    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1))
    given = {"examples": 8, "layers": "1", "overwrite": True}
    batches = [filled(images[:4]), filled(images[4:])]
    with pytest.warns(RepsimWarning, match="filled up to the largest") as caught:
        repsim.harvest(model, batches, tmp_path / "a.h5", **given).close()
    assert len([each for each in caught if "filled up" in str(each.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = [each.unsqueeze(0) for each in images]
        repsim.harvest(model, alone, tmp_path / "a.h5", **given).close()


def test_tokens_to_be_guessed_are_no_padding(tmp_path: Path) -> None:
    """A network that sees a learnt token in place of those that are masked."""

    class Guesses(Encoder):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
            return self.head(self.layer(torch.where(mask.bool()[..., None], 0.5, x)))

    refused(Guesses(), {"x": X, "mask": 1 - MASK}, "head", tmp_path, "with padding .mask.")
    check_average(Guesses(), {"x": X, "mask": 1 - MASK}, "head", tmp_path, None, masks="none")


class Plain(nn.Module):
    """A network that ignores what it is told of padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(16, 3)

    def forward(self, x: Tensor, **told: Any) -> Tensor:
        return self.layer(x)


def test_a_mask_that_the_network_ignores_is_that_of_its_only_sequence(tmp_path: Path) -> None:
    batch = {"x": X, "attention_mask": MASK}
    check_average(Plain(), batch, "layer", tmp_path, MASK)


def test_a_network_of_one_length_has_its_mask(tmp_path: Path) -> None:
    class Fixed(Plain):
        def forward(self, x: Tensor, **told: Any) -> Tensor:
            return self.layer(x + torch.ones(T, 16))

    batch = {"x": X, "attention_mask": MASK}
    check_average(Fixed(), batch, "layer", tmp_path, MASK)
    refused(Fixed(), {**batch, "other": Y}, "layer", tmp_path, "with padding .attention_mask.")


@pytest.mark.parametrize(
    ("mask", "padding"),
    [
        (MASK + 1, True),  # two texts in a row
        (MASK[:, None, :, None].float(), True),
        (torch.ones(N, 1, T, T), False),
        (torch.ones(N, T).long(), False),
    ],
)
def test_masks_of_other_values_and_shapes(mask: Tensor, padding: bool, tmp_path: Path) -> None:
    batch = {"x": X, "attention_mask": mask}
    if padding:
        refused(Plain(), batch, "layer", tmp_path, "with padding .attention_mask.")
        return
    check_average(Plain(), batch, "layer", tmp_path, None)


def test_maps_of_images_with_padding_are_refused(tmp_path: Path) -> None:
    class Image(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 2)

        def forward(self, pixel_values: Tensor, pixel_mask: Tensor) -> Tensor:
            return self.conv(pixel_values * pixel_mask[:, None])

    mask = torch.ones(N, 8, 9)
    batch = {"pixel_values": torch.randn(N, 3, 8, 9), "pixel_mask": mask}
    expected = values_of(Image(), "conv", batch)
    assert harvested(Image(), batch, "conv", tmp_path).shape == expected.mean((2, 3)).shape
    (tmp_path / "a.h5").unlink()
    mask[1, 5:] = 0
    refused(Image(), batch, "conv", tmp_path, "with padding .pixel_mask.")


def test_a_mask_within_an_entry_is_seen(tmp_path: Path) -> None:
    class Nested(Plain):
        def forward(self, image: Tensor, text: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
            return self.layer(text["x"] + image[:, :1, None])

    batch = {"image": torch.randn(N, 4), "text": {"x": X, "attention_mask": MASK}}
    refused(Nested(), batch, "layer", tmp_path, r"with padding .text\.attention_mask.")
    check_average(Nested(), batch, "layer", tmp_path, MASK, masks="layer=text.attention_mask")


def test_tokens_alone_may_hold_padding(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="with padding .input_ids."):
        repsim.harvest(
            bert(), [IDS * MASK], tmp_path / "a.h5", examples=N, layers=LAST, pooling="avg"
        )


# --- batches


def test_all_batches_have_the_same_masks(tmp_path: Path) -> None:
    plain, masked = {"x": X}, {"x": X, "attention_mask": MASK}
    options = {"examples": 2 * N, "layers": "layer", "pooling": "avg"}
    with pytest.raises(UsageError, match="batch 2 has attention_mask, which the first"):
        repsim.harvest(Plain(), [plain, masked], tmp_path / "a.h5", **options)
    with pytest.raises(UsageError, match="batch 2 is without attention_mask"):
        repsim.harvest(Plain(), [masked, plain], tmp_path / "b.h5", **options)


def test_a_mask_that_was_told_is_in_each_batch(tmp_path: Path) -> None:
    batches = [{"x": X, "own": MASK}, {"x": X, "own": MASK}, {"x": X}]
    given = {"layers": "layer", "pooling": "avg", "masks": "own:tokens"}
    with pytest.raises(UsageError, match="batch 3 has no mask 'own' for layer 'layer'; it has x"):
        repsim.harvest(Plain(), batches, tmp_path / "a.h5", examples=3 * N, **given)


def test_padding_that_nothing_tells_of_is_refused_with_its_batch(tmp_path: Path) -> None:
    batches = [{"input_ids": IDS}, {"input_ids": IDS * MASK}]
    given = {"layers": LAST, "pooling": "avg"}
    with pytest.raises(UsageError, match=r"with padding \(input_ids\) in batch 2, and nothing"):
        repsim.harvest(bert(), batches, tmp_path / "a.h5", examples=2 * N, **given)


def test_padding_may_begin_in_a_later_batch(tmp_path: Path) -> None:
    batches = [{"x": X, "attention_mask": torch.ones_like(MASK)}, {"x": Y, "attention_mask": MASK}]
    with repsim.harvest(
        Plain(), batches, tmp_path / "a.h5", examples=2 * N, pooling="avg"
    ) as store:
        expected = average(values_of(Plain(), "layer", batches[1]), MASK)
        np.testing.assert_allclose(store["layer"][N:], expected, atol=1e-5)


def test_a_store_records_the_masks_that_were_told(tmp_path: Path) -> None:
    batch = {"x": X, "attention_mask": MASK, "own": OTHER == 0}
    path = tmp_path / "a.h5"
    options = {"examples": N, "layers": "layer", "pooling": "avg"}
    told = {"masks": "own:padding"}
    with repsim.harvest(Plain(), [batch], path, **options, **told) as store:
        assert store.provenance()["masks"] == "*=own:padding"
        expected = average(values_of(Plain(), "layer", {"x": X}), OTHER)
        np.testing.assert_allclose(store["layer"][:], expected, atol=1e-5)
    repsim.harvest(Plain(), [batch], path, **options, **told, resume=True).close()
    with pytest.raises(StoreError, match="masks differ"):
        repsim.harvest(Plain(), [batch], path, **options, masks="none", resume=True)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ("own", "mask 'own': nothing says what marks padding; pass own:tokens where 1"),
        ("own:token", "mask 'own:token': unknown kind 'token'"),
        ("head=own:tokens", "mask rule 'head' is never used: it matches none of layer"),
        (
            "layer=other:tokens",
            "the first batch has no mask 'other' for layer 'layer'; it has x, own",
        ),
        (
            "layer=short:tokens",
            r"'short' is \(8, 4\), and layer 'layer' gives \(8, 6, 3\); expected a mark for each",
        ),
        (
            "layer=counts:tokens",
            "holds numbers from 0 to 2; expected zeros and ones.*: give a mask",
        ),
        ("layer=counts:padding", "'counts' holds .*, or 'layer=none' to take all"),
        ("layer=signed:tokens", "from -1 to 1; .* say signed:negative where numbers below 0 mark"),
    ],
)
def test_masks_that_cannot_be_are_refused(masks: str, message: str, tmp_path: Path) -> None:
    batch = {"x": X, "own": MASK, "short": MASK[:, :4], "counts": 2 * MASK, "signed": 2 * MASK - 1}
    with pytest.raises(UsageError, match=message) as error:
        harvested(Plain(), batch, "layer", tmp_path, masks=masks)
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match=message):
        plan_harvest(Plain(), [batch], layers="layer", pooling="avg", examples=N, masks=masks)


def test_networks_are_left_as_they_were(tmp_path: Path) -> None:
    class Counts(Plain):
        def forward(self, x: Tensor, **told: Any) -> Tensor:
            self.calls = getattr(self, "calls", 0) + 1
            return self.layer(x)

    model, state = Counts(), torch.get_rng_state()
    harvested(model, {"x": X, "attention_mask": MASK}, "layer", tmp_path)
    assert not hasattr(model, "calls")
    assert torch.equal(torch.get_rng_state(), state)


def test_labels_of_each_token_belong_to_their_sequence(tmp_path: Path) -> None:
    transformers = working_transformers()
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=20,
        )
    )
    labels = IDS.masked_fill(IDS % 2 == 0, -100)
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": labels}
    layer = "bert.encoder.layer.0.output.LayerNorm"
    check_average(model, batch, layer, tmp_path, MASK)


# --- positions that the network makes itself

TEXTS = ["abc", "hello", "hi", "repsim", "a", "bcdef", "zebra", "kk"]


class Spelled(nn.Module):
    """Texts are padded within forward, beside a number for each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.out = nn.Embedding(30, 8), nn.Linear(8, 3)

    def forward(self, speaker: Tensor, texts: list[Any], **unused: Tensor) -> Tensor:
        rows = [torch.tensor([ord(c) - 96 for c in text]) for text in texts]
        tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        kept = (tokens > 0).unsqueeze(2)
        return (self.out(self.embed(tokens) + speaker[:, None, None]) * kept).sum(1) / kept.sum(1)


class Heard(nn.Module):
    """Waves are padded within forward."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(2, 3)

    def forward(self, speaker: Tensor, waves: list[Tensor]) -> Tensor:
        return self.out(nn.utils.rnn.pad_sequence(waves, True) + speaker[:, None, None])


class Shortened(nn.Module):
    """Tokens are cut to those of the longest text, by their contents."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x[:, : int((x != 0).any(2).sum(1).max())])


SPEAKER = torch.arange(8.0)
WAVES = [torch.randn(size, 2, generator=torch.Generator().manual_seed(4)) for size in range(3, 11)]


def in_batches(size: int, **entries: Any) -> list[dict[str, Any]]:
    places = range(0, N, size)
    return [{name: each[k : k + size] for name, each in entries.items()} for k in places]


def stored(network: nn.Module, batches: Any, layer: str, path: Path, **more: Any) -> np.ndarray:
    given = {"examples": N, "layers": layer, "overwrite": True, "pooling": "avg", **more}
    with repsim.harvest(network, batches, path / "a.h5", **given) as store:
        return np.asarray(store[layer][:])


@pytest.mark.parametrize("pooling", ["avg", "last", "positions"])
@pytest.mark.parametrize("size", [4, 8])
def test_texts_that_are_padded_within_the_network_are_asked_about(
    size: int, pooling: str, tmp_path: Path
) -> None:
    batches = in_batches(size, speaker=SPEAKER, texts=TEXTS)
    with pytest.raises(UsageError, match=r"the network makes of texts .*--masks 'out=NAME'"):
        stored(Spelled(), batches, "out", tmp_path, pooling=pooling)


def test_texts_that_are_padded_within_the_network_have_a_remedy(tmp_path: Path) -> None:
    network = Spelled()
    right = torch.cat([network(SPEAKER[k : k + 1], TEXTS[k : k + 1]) for k in range(N)])
    one = in_batches(1, speaker=SPEAKER, texts=TEXTS)
    found = stored(network, one, "out", tmp_path)
    np.testing.assert_allclose(found, right.detach(), atol=1e-6)
    counts = torch.tensor(list(map(len, TEXTS)))
    told = in_batches(4, speaker=SPEAKER, texts=TEXTS, letters=counts)
    found = stored(network, told, "out", tmp_path, masks="out=letters:lengths")
    np.testing.assert_allclose(found, right.detach(), atol=1e-6)


def test_waves_that_are_padded_within_the_network_are_asked_about(tmp_path: Path) -> None:
    ragged = in_batches(4, speaker=SPEAKER, waves=WAVES)
    with pytest.raises(UsageError, match="the network makes of waves"):
        stored(Heard(), ragged, "out", tmp_path)
    long, short = torch.ones(4, 10, 2), torch.ones(4, 5, 2)
    even = in_batches(4, speaker=SPEAKER, waves=[*long, *short])
    network = Heard()
    right = torch.cat([network(**each).mean(1) for each in even]).detach()
    np.testing.assert_allclose(stored(network, even, "out", tmp_path), right, atol=1e-6)
    later = [even[0], {**even[1], "waves": [*WAVES[:3], *long[:1]]}]
    with pytest.raises(UsageError, match="in batch 2.*the network makes of waves"):
        stored(network, later, "out", tmp_path)


def test_padding_that_the_network_makes_is_kept_with_a_warning(tmp_path: Path) -> None:
    batches = in_batches(8, speaker=SPEAKER, texts=sorted(TEXTS, key=len, reverse=True))
    with pytest.warns(RepsimWarning, match="'out' is kept with the tokens that are padding"):
        stored(Spelled(), batches, "out", tmp_path, pooling="none")


def test_positions_that_contents_decide_are_asked_about(tmp_path: Path) -> None:
    x = X * MASK.unsqueeze(2)
    with pytest.raises(UsageError, match="the network makes of the contents of its inputs"):
        stored(Shortened(), [x], "embed", tmp_path)


def test_a_list_that_makes_no_positions_needs_no_mask(tmp_path: Path) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 4)

        def forward(self, x: Tensor, names: list[str]) -> Tensor:
            return self.layer(x) + torch.tensor([float(len(name)) for name in names])[:, None, None]

    network = Named()
    found = stored(network, in_batches(4, x=X, names=TEXTS), "layer", tmp_path)
    np.testing.assert_allclose(found, network.layer(X).mean(1).detach(), atol=1e-6)


# --- rows that depend on the padding behind them


class Convolved(nn.Module):
    """Two convolutions run over the padding, whose values reach the last tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv1d(16, 6, 3, padding=1)
        self.second = nn.Conv1d(6, 4, 3, padding=1)
        self.end = nn.Identity()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        found = self.second(self.first(x.transpose(1, 2)).relu())
        pairs = zip(found, lengths, strict=True)
        return self.end(torch.stack([each[:, : int(k)].mean(1) for each, k in pairs]))


class Unpacked(nn.Module):
    """A recurrent network that runs backwards from the end of the padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm = nn.LSTM(16, 8, batch_first=True, bidirectional=True)
        self.end = nn.Identity()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.end(self.lstm(x)[0])


class Adaptive(nn.Module):
    """A pooling to three positions, whatever the length is; no layer before it has positions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pool, self.end = nn.AdaptiveAvgPool1d(3), nn.Linear(48, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.end(self.pool(x.transpose(1, 2)).flatten(1))


REAL = X * MASK.unsqueeze(2)
ON_PADDING = r"layer 'end' gives an example other values with padding behind it \(lengths\)"


def ragged(places: Any) -> dict[str, Tensor]:
    """Examples that are padded to the longest of them."""
    places = list(places)
    lengths = LENGTHS[places]
    return {"x": REAL[places, : int(lengths.max())], "lengths": lengths}


@pytest.mark.parametrize("kind", [Convolved, Unpacked, Adaptive])
@pytest.mark.parametrize("told", [{}, {"masks": "*=lengths"}])
def test_rows_that_depend_on_the_padding_get_one_warning(
    kind: Any, told: dict[str, str], tmp_path: Path
) -> None:
    network, batches = kind(), [ragged(range(4)), ragged(range(4, 8))]
    with pytest.warns(RepsimWarning, match=ON_PADDING) as caught:
        found = stored(network, batches, "end", tmp_path, **told)
    assert len(caught) == 1
    taken = stored(network, batches, "end", tmp_path, allow_batch=True, **told)  # without a warning
    np.testing.assert_array_equal(taken, found)
    alone = [ragged([k]) for k in range(N)]
    right = [values_of(network, "end", each) for each in alone]
    right = [each.mean(1) if each.ndim == 3 else each for each in right]
    found = stored(network, alone, "end", tmp_path, **told)
    np.testing.assert_allclose(found, torch.cat(right), atol=1e-6)
    assert not np.allclose(found, taken, atol=1e-3)


def test_padding_may_come_with_a_later_batch(tmp_path: Path) -> None:
    even = ragged([0, 3])  # of six each
    with pytest.warns(RepsimWarning, match=ON_PADDING):
        stored(Convolved(), [even, ragged([1, 2, 4, 5, 6, 7])], "end", tmp_path)
    one_each = [even, *(ragged([k]) for k in (1, 2, 4, 5, 6, 7))]
    stored(Convolved(), one_each, "end", tmp_path)  # no padding, and no warning


def test_padding_to_one_length_needs_no_warning(tmp_path: Path) -> None:
    order = [1, 2, 4, 5, 6, 7]  # none of six
    batches = [{"x": REAL[places], "lengths": LENGTHS[places]} for places in (order[:3], order[3:])]
    stored(Convolved(), batches, "end", tmp_path, examples=6)


def test_rows_that_depend_on_the_padding_are_said_in_a_comparison(tmp_path: Path) -> None:
    network, batches = Convolved(), [ragged(range(4)), ragged(range(4, 8))]
    given = {"layers_a": "end", "layers_b": "end"}
    with pytest.warns(RepsimWarning, match=ON_PADDING):
        repsim.compare(network, network, batches, **given)
    repsim.compare(network, network, batches, allow_batch=True, **given)


@pytest.mark.parametrize("mask", ["mask", "lengths"])
def test_networks_that_leave_padding_out_get_no_warning(mask: str, tmp_path: Path) -> None:
    network: nn.Module = Encoder(inverted=True) if mask == "mask" else Packed()
    batches = []
    for places in (range(4), range(4, 8)):
        batch = ragged(places)
        is_padding = torch.arange(batch["x"].shape[1]) >= batch["lengths"][:, None]
        batches.append({"x": batch["x"], mask: is_padding if mask == "mask" else batch["lengths"]})
    found = stored(network.eval(), batches, "head", tmp_path)
    values = [values_of(network, "head", each) for each in batches]
    kept = [MASK[:4, : values[0].shape[1]], MASK[4:, : values[1].shape[1]]]
    right = np.concatenate([average(*pair) for pair in zip(values, kept, strict=True)])
    np.testing.assert_allclose(found, right, atol=1e-6)
