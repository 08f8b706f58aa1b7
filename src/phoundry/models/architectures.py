"""Architectures that Phoundry trains and converts: their tensors under both sets of names.

Hugging Face writes `model.layers.0.self_attn.q_proj.weight`, llama.cpp `blk.0.attn_q.weight`.
One table serves both directions. A test holds it against the `gguf` package's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phoundry.errors import InvalidInput

if TYPE_CHECKING:
    import numpy.typing as npt

_OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_COMMON = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
_SEPARATE = {
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
}
_OUTPUT_BIAS = {"self_attn.o_proj.bias": "attn_output.bias"}
_BIASES = {f"self_attn.{part}_proj.bias": f"attn_{part}.bias" for part in "qkv"}
# Gemma has a norm on both sides of attention and of the MLP.
_SANDWICH = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "post_attention_norm.weight",
    "pre_feedforward_layernorm.weight": "ffn_norm.weight",
    "post_feedforward_layernorm.weight": "post_ffw_norm.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
_QK_NORMS = {f"self_attn.{part}_norm.weight": f"attn_{part}_norm.weight" for part in "qk"}
# Phi-3's fused matrices go over whole: llama.cpp splits qkv and gate_up in the same order.
_FUSED = {
    "self_attn.qkv_proj.weight": "attn_qkv.weight",
    "mlp.gate_up_proj.weight": "ffn_up.weight",
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """`name` is Hugging Face's `model_type`, `gguf` llama.cpp's `general.architecture`."""

    name: str
    gguf: str
    model_class: str
    layer: Mapping[str, str]
    # llama.cpp rotates neighbouring pairs for this architecture, Hugging Face halves: the rows of
    # q and k change places (`permute`).
    interleaved: bool = False
    # Hugging Face multiplies by `1 + w` where llama.cpp multiplies by `w`.
    norm_offset: float = 0.0
    activation: str = "silu"
    # What transformers takes for keys that config.json may leave out, where that matters here.
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def offset(self, name: str) -> float:
        """What to add to a Hugging Face tensor for llama.cpp."""
        return self.norm_offset if name.endswith("norm.weight") else 0.0

    def gguf_name(self, name: str) -> str | None:
        """llama.cpp's name of a Hugging Face tensor, or None where there is none."""
        if name in _OUTER:
            return _OUTER[name]
        found = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name)
        if found and found[2] in self.layer:
            return f"blk.{found[1]}.{self.layer[found[2]]}"
        return None

    def hf_name(self, name: str) -> str | None:
        """Hugging Face's name of a llama.cpp tensor, or None where there is none."""
        for ours, theirs in _OUTER.items():
            if theirs == name:
                return ours
        found = re.fullmatch(r"blk\.(\d+)\.(.+)", name)
        back = {theirs: ours for ours, theirs in self.layer.items()}
        if found and found[2] in back:
            return f"model.layers.{found[1]}.{back[found[2]]}"
        return None

    def rotated_heads(self, name: str, config: Mapping[str, Any]) -> int | None:
        """Heads of the tensor if its rows must be permuted, else None."""
        if not self.interleaved:
            return None
        heads = int(config["num_attention_heads"])
        if ".self_attn.q_proj." in name:
            return heads
        if ".self_attn.k_proj." in name:
            return int(config.get("num_key_value_heads") or heads)
        return None


_LLAMA_LAYER = {**_COMMON, **_SEPARATE, **_BIASES, **_OUTPUT_BIAS}
_LLAMA = Architecture("llama", "llama", "LlamaForCausalLM", _LLAMA_LAYER, interleaved=True)
# A Llama with other defaults, and in its first version with a sliding window.
_MISTRAL = Architecture(
    "mistral",
    "llama",
    "MistralForCausalLM",
    {**_COMMON, **_SEPARATE},
    interleaved=True,
    defaults={
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 131_072,
        "num_key_value_heads": 8,
        "sliding_window": 4096,
    },
)
_PHI3 = Architecture("phi3", "phi3", "Phi3ForCausalLM", {**_COMMON, **_FUSED})
_QWEN2 = Architecture("qwen2", "qwen2", "Qwen2ForCausalLM", {**_COMMON, **_SEPARATE, **_BIASES})
_QWEN3 = Architecture("qwen3", "qwen3", "Qwen3ForCausalLM", {**_COMMON, **_SEPARATE, **_QK_NORMS})
_GEMMA3 = Architecture(
    "gemma3_text",
    "gemma3",
    "Gemma3ForCausalLM",
    {**_SANDWICH, **_SEPARATE, **_QK_NORMS},
    norm_offset=1.0,
    activation="gelu_pytorch_tanh",
    defaults={
        "hidden_act": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 131_072,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "sliding_window": 4096,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
    },
)
_ALL = (_LLAMA, _MISTRAL, _PHI3, _QWEN2, _QWEN3, _GEMMA3)
ARCHITECTURES = {each.name: each for each in _ALL}
_HINTS = {
    "gemma3": "This is the model with pictures; take one with text alone, such as Gemma 3 1B.",
    "mistral3": "This is the model with pictures; take one with text alone, such as Mistral 7B.",
}


def architecture(name: str) -> Architecture:
    """The architecture of a `model_type`.

    Raises:
        InvalidInput: not one of the supported ones, which the message lists.
    """
    if name not in ARCHITECTURES:
        raise _unknown(name)
    return ARCHITECTURES[name]


def architecture_of_gguf(name: str) -> Architecture:
    """The architecture of a GGUF file's `general.architecture`; of twins the first.

    Raises:
        InvalidInput: not one of the supported ones, which the message lists.
    """
    for kind in _ALL:
        if kind.gguf == name:
            return kind
    raise _unknown(name)


def _unknown(name: str) -> InvalidInput:
    classes = ", ".join(each.model_class for each in _ALL)
    hint = f"{_HINTS[name]} " if name in _HINTS else ""
    return InvalidInput(
        f"The architecture '{name}' is not supported.",
        remedy=f"{hint}Choose a model of one of these classes: {classes}.",
    )


def permute(weight: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """Rows from Hugging Face's rotary order to llama.cpp's.

    That is from `(heads, 2, half)` to `(heads, half, 2)`; `weight` is
    `(heads * 2 * half, …)`. The formula is that of llama.cpp's convert_hf_to_gguf.py.
    """
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return rows.swapaxes(1, 2).reshape(weight.shape)


def unpermute(weight: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """The inverse of `permute`."""
    rows = weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:])
    return rows.swapaxes(1, 2).reshape(weight.shape)
