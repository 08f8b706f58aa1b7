"""Sizes of a model from its config.json alone: weights, files, the cache of a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

# Q8_0: 32 weights share a float16 scale. Norms stay float32 and do not count.
Q8_0_BYTES = 34 / 32
BF16_BYTES = 2
# llama.cpp keeps as many tokens beyond a sliding window as it reads at one time.
_BATCH = 512
_TIED = {"gemma3", "gemma3_text"}  # where config.json is silent; the others are not tied then


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config.json that describes the language model.

    A checkpoint that sees images too keeps it under `text_config`, and leaves out what Gemma 3's
    class has as its defaults (transformers, Gemma3TextConfig).
    """
    inner: object = config.get("text_config")
    if not isinstance(inner, Mapping):
        return config
    defaults: dict[str, Any] = {}
    if config.get("model_type") == "gemma3":
        defaults = {
            "model_type": "gemma3_text",
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "vocab_size": 262_208,
            "max_position_embeddings": 131_072,
            "sliding_window": 4096,
        }
    return {**defaults, **cast("Mapping[str, Any]", inner)}


def count_parameters(config: Mapping[str, Any]) -> int:
    """Number of weights of a language model, tied embeddings counted once.

    With d hidden, h heads of size k, g key-value heads, i inner, L layers, V vocabulary:
    `V·d·(1 or 2) + L·(2·d·k·(h + g) + 3·d·i + 2·d) + d`. Qwen3 and Gemma 3 add `2·k` for norms of
    queries and keys, Gemma 3 two more norms of `d`, biases of attention `k·(h + 2·g)` (Qwen2) and
    `+ d` (Llama with attention_bias), of the MLP `2·i + d`.

    Raises:
        KeyError: the config lacks a size.
    """
    config = text_config(config)
    kind = config["model_type"]
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    heads, groups, size = _heads(config)
    layer = 2 * hidden * size * (heads + groups) + 3 * hidden * inner + 2 * hidden
    if kind in ("qwen3", "gemma3_text"):
        layer += 2 * size
    if kind == "gemma3_text":
        layer += 2 * hidden
    if kind == "qwen2" or config.get("attention_bias"):
        layer += size * (heads + 2 * groups)
    if kind != "qwen2" and config.get("attention_bias"):
        layer += hidden
    if config.get("mlp_bias"):
        layer += 2 * inner + hidden
    tables = 1 if config.get("tie_word_embeddings", kind in _TIED) else 2
    return (
        int(config["vocab_size"]) * hidden * tables
        + layer * int(config["num_hidden_layers"])
        + hidden
    )


def cache_bytes(config: Mapping[str, Any], tokens: int) -> int:
    """Bytes of the keys and values of `tokens` tokens of one conversation, 2 bytes a number.

    `2 · g · k · 2` for each layer and token; a layer with a sliding window keeps no more than the
    window and one batch. Only Gemma's windows count: llama.cpp applies no others of ours.
    """
    config = text_config(config)
    _, groups, size = _heads(config)
    layers = int(config["num_hidden_layers"])
    local = _local_layers(config, layers)
    window = min(tokens, int(config.get("sliding_window") or tokens) + _BATCH)
    return 4 * groups * size * ((layers - local) * tokens + local * window)


def _local_layers(config: Mapping[str, Any], layers: int) -> int:
    """Layers with a sliding window: in Gemma 3 five of six."""
    if config["model_type"] != "gemma3_text" or not config.get("sliding_window"):
        return 0
    kinds: object = config.get("layer_types")
    if isinstance(kinds, list) and kinds:
        return cast("list[object]", kinds).count("sliding_attention")
    return layers - layers // int(config.get("sliding_window_pattern") or 6)


def _heads(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Heads, key-value heads, and the size of one."""
    heads = int(config["num_attention_heads"])
    groups = int(config.get("num_key_value_heads") or heads)
    size = config.get("head_dim") or (256 if config["model_type"] == "gemma3_text" else None)
    return heads, groups, int(size or int(config["hidden_size"]) // heads)
