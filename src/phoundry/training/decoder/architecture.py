"""What a decoder is made of, read from its config.json: six families, one description.

Llama, Mistral, Phi-3, Qwen 2 and 3 and Gemma 3 differ in a dozen places. Each is a field here, so
that `decoder.py` has one way through. Defaults are those of transformers' configuration classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from phoundry.errors import InvalidInput, NotFound

ARCHITECTURES = frozenset({"gemma3_text", "llama", "mistral", "phi3", "qwen2", "qwen3"})
# What transformers takes for keys that a config.json may leave out.
_COMMON: dict[str, Any] = {"rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu"}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"max_position_embeddings": 2048},
    "mistral": {
        "num_key_value_heads": 8,
        "sliding_window": 4096,
        "max_position_embeddings": 131072,
    },
    "phi3": {"rms_norm_eps": 1e-5, "max_position_embeddings": 4096},
    "qwen2": {
        "num_key_value_heads": 32,
        "sliding_window": 4096,
        "max_window_layers": 28,
        "max_position_embeddings": 32768,
    },
    "qwen3": {
        "num_key_value_heads": 32,
        "head_dim": 128,
        "sliding_window": 4096,
        "max_window_layers": 28,
        "max_position_embeddings": 32768,
    },
    "gemma3_text": {
        "tie_word_embeddings": True,
        "head_dim": 256,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
        "num_key_value_heads": 4,
        "max_position_embeddings": 131072,
        "hidden_activation": "gelu_pytorch_tanh",
    },
}
# Set by no model of these architectures that is in use; the arithmetic here would pass over them.
_BEYOND = (
    *("final_logit_softcapping", "attn_logit_softcapping", "use_bidirectional_attention"),
    *("attention_dropout", "resid_pdrop", "embd_pdrop", "quantization_config"),
)
_ACTIVATIONS = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh"}


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes in elements. `windows` and `rotations` have one entry a layer."""

    kind: str
    hidden: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    intermediate: int
    vocabulary: int
    eps: float
    activation: str  # "silu" or "gelu_tanh"
    attention_scale: float
    windows: tuple[int | None, ...]  # tokens back that a layer sees, itself included; None: all
    rotations: tuple[str, ...]  # which entry of `rope` turns a layer's queries and keys
    rope: Mapping[str, Mapping[str, Any]]
    context_length: int
    tied: bool

    @property
    def fused(self) -> bool:
        """One matrix for queries, keys and values, and one for gate and up (Phi-3)."""
        return self.kind == "phi3"

    @property
    def head_norms(self) -> bool:
        """Each head's queries and keys are normalised (Qwen 3, Gemma 3)."""
        return self.kind in ("qwen3", "gemma3_text")

    @property
    def gemma(self) -> bool:
        """Norms scale by 1 + weight and stand after attention and MLP too; embeddings are
        scaled."""
        return self.kind == "gemma3_text"

    @property
    def query_width(self) -> int:
        return self.heads * self.head_width

    @property
    def key_width(self) -> int:
        return self.key_heads * self.head_width

    def rope_variant(self, name: str, length: int) -> int:
        """Conversations whose lengths give the same number are turned by the same angles: 0 unless
        these depend on the length."""
        rope = self.rope[name]
        if rope["rope_type"] == "longrope":
            original = int(rope["original_max_position_embeddings"])
            return original + 1 if length > original else 0
        if rope["rope_type"] == "dynamic":
            return length if length > self.context_length else 0
        return 0

    def turns_alike(self, longest: int) -> bool:
        """Whether all conversations of up to so many tokens are turned by the same angles."""
        return not any(self.rope_variant(name, longest) for name in self.rope)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Architecture:
        """From what `read_config` gave. Raises InvalidInput where a size or kind is missing."""
        kind = str(config["model_type"])
        try:
            hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
            layers, inner = int(config["num_hidden_layers"]), int(config["intermediate_size"])
            vocabulary = int(config["vocab_size"])
        except KeyError as missing:
            raise InvalidInput(f"The model's config.json has no {missing}.") from None
        width = int(config.get("head_dim") or hidden // heads)
        types = _layer_types(config, kind, layers)
        scale = float(config["query_pre_attn_scalar"]) if kind == "gemma3_text" else float(width)
        rope = _ropes(config, kind)
        return cls(
            kind=kind,
            hidden=hidden,
            layers=layers,
            heads=heads,
            key_heads=int(config.get("num_key_value_heads") or heads),
            head_width=width,
            intermediate=inner,
            vocabulary=vocabulary,
            eps=float(config["rms_norm_eps"]),
            activation=_activation(config, kind),
            attention_scale=scale**-0.5,
            windows=tuple(_window(config, each) for each in types),
            rotations=tuple(each if each in rope else "all" for each in types),
            rope=rope,
            context_length=int(config.get("max_position_embeddings") or 2048),
            tied=bool(config.get("tie_word_embeddings", False)),
        )


def read_config(checkpoint_dir: Path) -> dict[str, Any]:
    """config.json of a checkpoint that may be trained, with the defaults of its architecture.

    Raises:
        NotFound: there is none.
        InvalidInput: it wants code of its own to run, or its architecture is not known here.
    """
    path = checkpoint_dir / "config.json"
    try:
        config = cast(dict[str, Any], json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise NotFound(f"{checkpoint_dir} holds no config.json.") from None
    if "auto_map" in config:
        raise InvalidInput(
            f"{path} names code of its own (auto_map), which is never run here.",
            remedy="Use a checkpoint of an architecture that transformers knows.",
        )
    kind = str(config.get("model_type"))
    if kind not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise InvalidInput(f"{path}: architecture '{kind}' cannot be tuned here, only {known}.")
    if found := [key for key in _BEYOND if config.get(key)]:
        raise InvalidInput(
            f"{path} has {found[0]}={config[found[0]]!r}, which training does not compute here.",
            remedy="Choose a model without it: no model of the catalog has it.",
        )
    return {**_COMMON, **_DEFAULTS[kind], **config}


def _activation(config: Mapping[str, Any], kind: str) -> str:
    name = str(config["hidden_activation" if kind == "gemma3_text" else "hidden_act"])
    if name not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise InvalidInput(f"The activation '{name}' cannot be trained here, only {known}.")
    return _ACTIVATIONS[name]


def _layer_types(config: Mapping[str, Any], kind: str, layers: int) -> list[str]:
    """ "full_attention" or "sliding_attention" for each layer."""
    if given := config.get("layer_types"):
        return [str(each) for each in given]
    if kind in ("mistral", "phi3"):
        return ["sliding_attention" if config.get("sliding_window") else "full_attention"] * layers
    if kind == "gemma3_text":
        every = int(config["sliding_window_pattern"])
        return ["sliding_attention" if (i + 1) % every else "full_attention" for i in range(layers)]
    if kind in ("qwen2", "qwen3") and config.get("use_sliding_window"):
        first = int(config["max_window_layers"])
        return ["sliding_attention" if i >= first else "full_attention" for i in range(layers)]
    return ["full_attention"] * layers


def _window(config: Mapping[str, Any], layer_type: str) -> int | None:
    window = config.get("sliding_window")
    return int(window) if window and layer_type == "sliding_attention" else None


def _ropes(config: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Rotary parameters by layer type, or one entry "all"; transformers 5's keys and 4's."""
    given: dict[str, Any] = dict(config.get("rope_parameters") or {})
    if any(isinstance(value, dict) for value in given.values()):
        return {name: _rope(config, value) for name, value in given.items() if value}
    scaling: dict[str, Any] = given or dict(config.get("rope_scaling") or {})
    if kind == "gemma3_text":
        local = {"rope_theta": config["rope_local_base_freq"]}
        return {
            "full_attention": _rope(config, scaling),
            "sliding_attention": _rope(config, local),
        }
    return {"all": _rope(config, scaling)}


def _rope(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    rope = {"rope_theta": config["rope_theta"], **given}
    kind = str(rope.get("rope_type") or rope.get("type") or "default")
    rope["rope_type"] = "longrope" if kind == "su" else kind
    for key, otherwise in (
        ("partial_rotary_factor", 1.0),
        ("original_max_position_embeddings", config.get("max_position_embeddings")),
    ):
        if rope.get(key) is None:
            value = config.get(key)
            rope[key] = otherwise if value is None else value
    return rope
