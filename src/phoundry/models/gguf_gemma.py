"""What is Gemma 3's own in a GGUF file.

llama.cpp has some of Gemma's numbers in its code and not in the file: where a checkpoint has others
it would compute something else, so it is refused. Read in llama.cpp's src/models/gemma3.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from phoundry.errors import Fault, InvalidInput

if TYPE_CHECKING:
    from gguf import GGUFWriter

    from phoundry.models.gguf_file import GGUFFile

PATTERN = 6  # every sixth layer sees the whole conversation, the others a window
LAYERS_27B = 62
LOCAL_THETA = 10_000.0  # rotary base of the layers with a window


def layer_types(count: int, pattern: int = PATTERN) -> list[str]:
    """Which attention each of `count` layers has, under transformers' names."""
    return [
        "sliding_attention" if (number + 1) % pattern else "full_attention"
        for number in range(count)
    ]


def add_gemma(writer: GGUFWriter, config: Mapping[str, Any]) -> None:
    """Write the window.

    Raises:
        InvalidInput: every number that llama.cpp has otherwise.
    """
    faults = [
        Fault("config.json", f"{key} is {config.get(key)!r}; llama.cpp computes with {fixed}")
        for key, fixed, agrees in _fixed(config)
        if not agrees
    ]
    if faults:
        raise InvalidInput("llama.cpp's Gemma 3 has other numbers than this model.", faults=faults)
    writer.add_sliding_window(int(config["sliding_window"]))


def gemma_config(source: GGUFFile, config: Mapping[str, Any]) -> dict[str, Any]:
    """Gemma's own keys of config.json, from what a GGUF file says and llama.cpp takes for granted.

    Raises:
        InvalidInput: the file has no window, or another pattern of them.
    """
    window = source.get("{arch}.attention.sliding_window")
    pattern = source.get("{arch}.attention.sliding_window_pattern", PATTERN)
    if not window or pattern != PATTERN:
        raise InvalidInput(
            f"{source.path} has a sliding window of {window} in the pattern {pattern}; Gemma 3's "
            f"layers have one, but for every {PATTERN}th.",
            remedy="Use the model's Hugging Face checkpoint instead of its GGUF file.",
        )
    count = int(config["num_hidden_layers"])
    heads = int(config["hidden_size"]) // int(config["num_attention_heads"])
    local = source.get("{arch}.rope.freq_base_swa", LOCAL_THETA)
    return {
        "hidden_activation": config["hidden_act"],
        "query_pre_attn_scalar": heads if count == LAYERS_27B else config["head_dim"],
        "sliding_window": window,
        "layer_types": layer_types(count),
        "rope_parameters": {
            "full_attention": config["rope_parameters"],
            "sliding_attention": {"rope_theta": float(local), "rope_type": "default"},
        },
    }


def _fixed(config: Mapping[str, Any]) -> list[tuple[str, object, bool]]:
    """`(key, what llama.cpp takes, whether the config agrees)`."""
    count = int(config["num_hidden_layers"])
    pattern = int(
        config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or PATTERN
    )
    types = config.get("layer_types") or layer_types(count, pattern)
    scalar = config["query_pre_attn_scalar"]
    if count == LAYERS_27B:  # which llama.cpp knows by them
        width = int(config["hidden_size"]) // int(config["num_attention_heads"])
    else:
        width = int(config["head_dim"])
    return [
        ("layer_types", f"a window in five of {PATTERN} layers", types == layer_types(count)),
        ("query_pre_attn_scalar", width, scalar == width),
        ("rope_local_base_freq", LOCAL_THETA, _local(config) == {"rope_theta": LOCAL_THETA}),
        ("sliding_window", "one", bool(config.get("sliding_window"))),
        ("attn_logit_softcapping", "none", not config.get("attn_logit_softcapping")),
        ("final_logit_softcapping", "none", not config.get("final_logit_softcapping")),
        ("use_bidirectional_attention", "none", not config.get("use_bidirectional_attention")),
        ("attention_bias", "none", not config.get("attention_bias")),
    ]


def _local(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary parameters of the layers with a window, without what says nothing."""
    ropes: dict[str, Any] = config.get("rope_parameters") or {}
    local: dict[str, Any] = {"rope_theta": config.get("rope_local_base_freq", LOCAL_THETA)}
    local |= ropes.get("sliding_attention") or {}
    if local.get("rope_type") == "default":
        del local["rope_type"]
    return local
