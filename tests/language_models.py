"""Tiny random language models of several families of transformers, and batches for them."""

from __future__ import annotations

from typing import Any

import torch
from libraries import TINY, working_transformers
from torch import Tensor, nn

from repsim.activations import Capture, trace
from repsim.activations.capture.tracing import addresses_of

VOCABULARY = 50
#: Tokens of each text, of which there are six.
LENGTHS = (7, 3, 5, 1, 6, 4)

_WORDS = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 32}
_OPT = {**TINY, "ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 32}
_T5 = {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 64, "d_kv": 16}
DECODERS: dict[str, dict[str, Any]] = {
    "gpt2": _GPT2,
    "llama": {**TINY, "num_key_value_heads": 1},
    "gpt_neox": TINY,
    "gemma2": {**TINY, "num_key_value_heads": 1, "head_dim": 16},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
}
OTHERS: dict[str, dict[str, Any]] = {"opt": _OPT, "bert": TINY, "t5": _T5, "albert": TINY}


def language_model(kind: str, seed: int = 0, **changes: Any) -> nn.Module:
    """A random network that makes logits if it can, in evaluation mode."""
    transformers = working_transformers()
    settings = {**_WORDS, **{**DECODERS, **OTHERS}[kind], **changes}
    config = transformers.AutoConfig.for_model(kind, **settings)
    causal = kind in DECODERS or kind == "opt"
    auto = transformers.AutoModelForCausalLM if causal else transformers.AutoModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = auto.from_config(config)
    return network.eval()


def taken(network: nn.Module, batch: Any, layers: str) -> dict[str, Tensor]:
    """The layers of one batch, whole."""
    with Capture(network, addresses_of(trace(network, batch, layers))) as capture:
        capture.run(batch)
        found: dict[str, Tensor] = capture.take()
        return found


def texts() -> list[list[int]]:
    """The tokens of each text, without padding; none of them is the token of padding."""
    generator = torch.Generator().manual_seed(3)
    return [
        torch.randint(3, VOCABULARY, (length,), generator=generator).tolist() for length in LENGTHS
    ]


def padded(side: str, length: int = 8) -> dict[str, Any]:
    """The texts as one batch, with padding on one side, and ids."""
    ids, mask = torch.zeros(2, len(LENGTHS), length, dtype=torch.int64)
    for k, text in enumerate(texts()):
        place = slice(0, len(text)) if side == "right" else slice(length - len(text), length)
        ids[k, place], mask[k, place] = torch.tensor(text), 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": positions,
        "ids": [f"text/{k}" for k in range(len(LENGTHS))],
    }


def inputs(batch: dict[str, Any]) -> dict[str, Tensor]:
    """The entries of a batch that are tensors."""
    return {name: each for name, each in batch.items() if isinstance(each, Tensor)}
