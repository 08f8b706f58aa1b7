"""config.json as GGUF metadata: what llama.cpp must know of a model's shape and rotary embedding.

Keys and formulas are those of llama.cpp's convert_hf_to_gguf.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from phoundry.errors import InvalidInput
from phoundry.models.architectures import Architecture
from phoundry.models.gguf_gemma import add_gemma

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from gguf import GGUFWriter

    Floats = npt.NDArray[np.float32]


# What YaRN has besides its factor; other values than these are not written to GGUF here.
_YARN = {
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "attention_factor": None,
    "mscale": None,
    "mscale_all_dim": None,
    "truncate": True,
}


def rope_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary parameters, whether written as transformers 5 does or as versions before it did."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    if "full_attention" in rope:  # Gemma 3 has others for its layers with a window
        rope = dict(rope["full_attention"])
    rope.setdefault("rope_theta", config.get("rope_theta", 10_000.0))
    rope.setdefault("rope_type", rope.get("type") or "default")
    rope.setdefault("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
    if rope["rope_type"] in ("su", "yarn") and config.get("model_type") == "phi3":
        rope["rope_type"] = "longrope"  # as transformers reads it
    return rope


def add_shape(writer: GGUFWriter, config: Mapping[str, Any], kind: Architecture) -> list[str]:
    """Write the keys of `{arch}.*`; returns notices.

    Raises:
        InvalidInput: another activation than the architecture's, rotary scaling of an unsupported
            kind, or what llama.cpp computes in another way.
    """
    activation = config.get("hidden_activation") or config.get("hidden_act") or kind.activation
    if activation != kind.activation:
        raise InvalidInput(
            f"The activation '{activation}' is not supported; llama.cpp's graph of this "
            f"architecture uses {kind.activation}."
        )
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    size = head_size(config)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(hidden)
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_vocab_size(int(config["vocab_size"]))
    if size * heads != hidden or config["model_type"] in ("qwen3", "gemma3_text"):
        writer.add_key_length(size)
        writer.add_value_length(size)
    if config["model_type"] == "phi3":
        # 0 tells Phi-4 from Phi-3. llama.cpp does not apply the window (docs/design/models.md).
        writer.add_sliding_window(int(config.get("sliding_window") or 0))
    if config["model_type"] == "gemma3_text":
        add_gemma(writer, config)
    _add_rope(writer, config, size)
    return _window_notice(config)


def _window_notice(config: Mapping[str, Any]) -> list[str]:
    """Told where transformers attends to the last tokens alone, and llama.cpp to all of them."""
    window = config.get("sliding_window")
    if config["model_type"] != "mistral" or not window:
        return []
    if int(window) >= int(config["max_position_embeddings"]):
        return []
    return [
        f"This model looks back {int(window):,} tokens; llama.cpp looks back to the beginning. "
        "Longer conversations may be answered differently than by transformers."
    ]


def head_size(config: Mapping[str, Any]) -> int:
    """Width of one attention head."""
    return int(
        config.get("head_dim") or int(config["hidden_size"]) // int(config["num_attention_heads"])
    )


def _add_rope(writer: GGUFWriter, config: Mapping[str, Any], size: int) -> None:
    from gguf.constants import RopeScalingType

    rope = rope_of(config)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    writer.add_rope_dimension_count(int(rope["partial_rotary_factor"] * size))
    kind = rope["rope_type"]
    if config["model_type"] == "phi3":
        writer.add_rope_scaling_orig_ctx_len(_original_context(config))
        if kind == "longrope":
            writer.add_rope_scaling_attn_factors(_longrope_attention(config))
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    elif kind == "yarn":
        if odd := [
            key for key, usual in _YARN.items() if rope.get(key, usual) not in (usual, None)
        ]:
            raise InvalidInput(f"YaRN with {odd[0]}={rope[odd[0]]!r} cannot be converted.")
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(float(rope["factor"]))
        writer.add_rope_scaling_orig_ctx_len(int(rope["original_max_position_embeddings"]))
    elif kind not in ("default", "longrope", "llama3"):
        raise InvalidInput(
            f"The rotary scaling '{kind}' is not supported.",
            remedy="Supported are default, linear, yarn, llama3 and longrope.",
        )


def rope_tensors(config: Mapping[str, Any]) -> dict[str, Floats]:
    """Frequency factors that llama.cpp keeps as tensors, by name; often none."""
    import numpy as np

    rope = rope_of(config)
    if rope["rope_type"] == "longrope":
        half = int(rope["partial_rotary_factor"] * head_size(config)) // 2
        found = {
            f"rope_factors_{length}.weight": np.array(rope[f"{length}_factor"], np.float32)
            for length in ("long", "short")
        }
        for name, factors in found.items():
            if len(factors) != half:
                raise InvalidInput(f"{name} has {len(factors)} values; the heads need {half}.")
        return found
    if rope["rope_type"] == "llama3":
        return {"rope_freqs.weight": llama3_factors(rope, head_size(config))}
    return {}


def _original_context(config: Mapping[str, Any]) -> int:
    rope = rope_of(config)
    original = config.get("original_max_position_embeddings")
    original = original or rope.get("original_max_position_embeddings")
    return int(original or config["max_position_embeddings"])


def _longrope_attention(config: Mapping[str, Any]) -> float:
    """Attention's scale: `sqrt(1 + ln(s) / ln(original))` with `s = context / original`."""
    original = _original_context(config)
    scale = int(config["max_position_embeddings"]) / original
    return math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0


def llama3_factors(rope: Mapping[str, Any], size: int) -> Floats:
    """Llama 3.1's divisors of the rotary frequencies, `(size / 2,)`.

    Wavelengths under `original / high_freq_factor` stay, those over `original / low_freq_factor`
    are divided by `factor`, those between are blended (transformers' `_compute_llama3_parameters`).
    """
    import numpy as np

    original = float(rope.get("original_max_position_embeddings", 8192))
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    factor = float(rope["factor"])
    frequencies = float(rope["rope_theta"]) ** -(np.arange(0, size, 2) / size)
    waves = 2 * math.pi / frequencies
    blend = (original / waves - low) / (high - low)
    factors = 1 / ((1 - blend) / factor + blend)
    factors = np.where(waves < original / high, 1.0, factors)
    return np.where(waves > original / low, factor, factors).astype(np.float32)
