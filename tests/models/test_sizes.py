"""Sizes computed from a config, against the models that transformers builds from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.models.catalog import CATALOG, cache_bytes, count_parameters, text_config
from phoundry.models.catalog.entry import CatalogEntry


def built(config: dict[str, Any]) -> int:
    """Weights of the model of `config`, built without any memory for them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    values = {key: value for key, value in config.items() if key != "model_type"}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(config["model_type"], **values)
        )
    return model.num_parameters()


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_every_model_of_the_catalog_has_the_weights_that_transformers_builds(
    entry: CatalogEntry,
) -> None:
    config = dict(text_config(entry.config))
    assert count_parameters(entry.config) == built(config)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {"attention_bias": True}),
        ("llama", {"mlp_bias": True, "tie_word_embeddings": True}),
        ("llama", {"num_key_value_heads": 4}),
        ("mistral", {"sliding_window": 16}),
        ("phi3", {}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 32}),
        ("qwen3", {"head_dim": 32, "attention_bias": True}),
        ("gemma3_text", {"head_dim": 32}),
        ("gemma3_text", {"head_dim": 32, "tie_word_embeddings": False}),
    ],
)
def test_what_a_config_may_change(kind: str, changes: dict[str, Any]) -> None:
    config = {
        "model_type": kind,
        "vocab_size": 160,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 7,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        **changes,
    }
    assert count_parameters(config) == built(config)


def test_a_config_with_images_too_is_read_for_its_text() -> None:
    """Against transformers' class: what the hub's config leaves out is what the class has."""
    from transformers import AutoConfig

    entry = next(entry for entry in CATALOG if entry.config["model_type"] == "gemma3")
    ours = text_config(entry.config)
    theirs = AutoConfig.for_model(**dict(entry.config["text_config"]))
    for name, value in ours.items():
        assert getattr(theirs, name) == value, name


def cached(config: dict[str, Any], tokens: int) -> int:
    """Bytes that transformers' own cache holds after `tokens` tokens, at 2 bytes a number."""
    import torch
    from transformers import AutoConfig, DynamicCache

    values = {key: value for key, value in config.items() if key != "model_type"}
    shape = AutoConfig.for_model(config["model_type"], **values)
    cache = DynamicCache(config=shape)
    heads = shape.num_key_value_heads
    size = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    part = torch.empty(1, heads, tokens, size, dtype=torch.bfloat16, device="meta")
    for layer in range(shape.num_hidden_layers):
        cache.update(part, part, layer)
    kept: list[Any] = list(cache.layers)
    return sum(2 * layer.keys.numel() + 2 * layer.values.numel() for layer in kept)


@pytest.mark.parametrize(
    "name",
    ["smollm2-135m-instruct", "phi-3-mini-4k-instruct", "qwen3-0.6b", "llama-3.2-3b-instruct"],
)
def test_the_cache_is_that_of_transformers(name: str) -> None:
    config = dict(next(entry for entry in CATALOG if entry.name == name).config)
    assert cache_bytes(config, 1000) == cached(config, 1000)


def test_layers_with_a_window_keep_no_more_than_it_and_one_batch() -> None:
    config = dict(next(entry for entry in CATALOG if entry.name == "gemma-3-1b-it").config)
    # transformers keeps the window less the token to come; llama.cpp a batch of 512 beyond it
    local = 26 - 26 // 6
    more = 4 * 1 * 256 * local * (512 + 1)
    assert cache_bytes(config, 4096) == cached(config, 4096) + more
    assert cache_bytes(config, 256) == cached(config, 256)
    named = {**config, "layer_types": ["full_attention"] * 26}
    assert cache_bytes(named, 4096) == 4 * 256 * 26 * 4096


@given(tokens=st.integers(1, 200_000))
def test_a_longer_conversation_never_takes_less(tokens: int) -> None:
    for entry in CATALOG:
        assert cache_bytes(entry.config, tokens) <= cache_bytes(entry.config, tokens + 1)
