"""Masks of padding: the layers that each belongs to, against sums over tokens by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from libraries import working_transformers
from torch import Tensor, nn

import repsim
from repsim.errors import RepsimWarning, UsageError

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
    expected = average(values_of(model, layer, batch), None)
    np.testing.assert_allclose(harvested(model, batch, layer, tmp_path), expected, atol=1e-5)


def test_labels_that_a_loss_leaves_out_are_padding_of_the_decoder(tmp_path: Path) -> None:
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": IDS_2}
    model, layer = t5("T5ForConditionalGeneration"), "decoder.final_layer_norm"
    whole = average(values_of(model, layer, batch), None)
    np.testing.assert_allclose(harvested(model, batch, layer, tmp_path), whole, atol=1e-5)
    (tmp_path / "a.h5").unlink()
    padded = {**batch, "labels": IDS_2.masked_fill(OTHER == 0, -100)}
    refused(model, padded, layer, tmp_path, "of inputs that are padded, in labels, and nothing")
    told = {**padded, "own": OTHER}
    expected = average(values_of(model, layer, padded), OTHER)
    found = harvested(model, told, layer, tmp_path, masks={layer: "own:tokens"})
    np.testing.assert_allclose(found, expected, atol=1e-5)


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
    expected = average(values_of(bert(), LAST, batch), MASK)
    np.testing.assert_allclose(harvested(bert(), batch, LAST, tmp_path), expected, atol=1e-5)


def test_tokens_that_pad_without_a_mask_are_refused(tmp_path: Path) -> None:
    padded = {"input_ids": IDS * MASK}  # 0 is the token of padding
    refused(bert(), padded, LAST, tmp_path, "padded, in input_ids, and nothing .* 'NAME'")
    found = harvested(bert(), padded, LAST, tmp_path, masks=f"{LAST}=none")
    np.testing.assert_allclose(found, average(values_of(bert(), LAST, padded), None), atol=1e-5)
    (tmp_path / "a.h5").unlink()
    np.testing.assert_allclose(
        harvested(bert(), {"input_ids": IDS}, LAST, tmp_path),
        average(values_of(bert(), LAST, {"input_ids": IDS}), None),
        atol=1e-5,
    )


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
        expected = average(values_of(model, layer, batch), own)
        found = harvested(model, batch, layer, tmp_path)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        (tmp_path / "a.h5").unlink()


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
    refused(wav2vec2(), batch, layer, tmp_path, r"gives \(8, 8, 79\) of inputs that are padded")


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
        expected = average(values_of(model, layer, batch), own)
        found = harvested(model, batch, layer, tmp_path)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        (tmp_path / "a.h5").unlink()


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
    expected = average(values_of(model, "head", batch), MASK)
    np.testing.assert_allclose(harvested(model, batch, "head", tmp_path), expected, atol=1e-5)


def test_a_mask_that_is_read_against_its_name_is_said(tmp_path: Path) -> None:
    model, batch = Encoder(inverted=True), {"x": X, "attention_mask": 1 - MASK}
    expected = average(values_of(model, "head", batch), MASK)
    with pytest.warns(RepsimWarning, match="'attention_mask' the other way: 1 marks padding"):
        found = harvested(model, batch, "head", tmp_path)
    np.testing.assert_allclose(found, expected, atol=1e-5)


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
        expected = average(values_of(model, layer, batch), MASK if layer in uses else None)
        found = harvested(model, batch, layer, tmp_path)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        (tmp_path / "a.h5").unlink()


def test_a_mask_that_could_be_that_of_either_tower_is_refused(tmp_path: Path) -> None:
    batch = {"left": X, "right": Y, "attention_mask": MASK}
    refused(Towers(""), batch, "b", tmp_path, "of inputs that are padded, in attention_mask")
    found = harvested(Towers(""), batch, "b", tmp_path, masks="b=attention_mask")
    expected = average(values_of(Towers(""), "b", batch), MASK)
    np.testing.assert_allclose(found, expected, atol=1e-5)
