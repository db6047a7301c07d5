"""Optional libraries for the tests: there, or the test is skipped and says why."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from repsim.optional import reason

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
TINY_BERT = {**TINY, "vocab_size": 50}
TINY_VIT = {**TINY, "image_size": 32, "patch_size": 8}


def library(name: str) -> ModuleType:
    """A library that is installed and can be imported."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        pytest.skip(f"{name} cannot be imported: {reason(error)}")


def working_transformers() -> ModuleType:
    """The library, able to make networks, which a torchvision that does not fit prevents."""
    transformers = library("transformers")
    try:
        transformers.AutoModel.from_config(transformers.AutoConfig.for_model("bert", **TINY_BERT))
    except ImportError as error:
        pytest.skip(f"transformers cannot make networks here: {reason(error)}")
    return transformers
