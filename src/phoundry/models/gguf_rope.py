"""Rotary embedding of a GGUF file, as config.json tells it.

llama.cpp keeps what it needs to compute, config.json what it was computed from. Where the way back
is not certain, the file is refused: a wrong frequency is seen in no error and in every answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phoundry.errors import InvalidInput
from phoundry.models.gguf_file import GGUFFile
from phoundry.models.gguf_metadata import llama3_factors

_LONG = {
    "rope_factors_short.weight": "short_factor",
    "rope_factors_long.weight": "long_factor",
}
_LLAMA3 = "rope_freqs.weight"
# Tensors that llama.cpp keeps beside the weights and that config.json holds as numbers.
FACTORS = frozenset({*_LONG, _LLAMA3})


def rope_of_gguf(source: GGUFFile, config: dict[str, Any], head_dim: int) -> dict[str, Any]:
    """`rope_parameters` of config.json; what Phi-3 has outside of them is set in `config`.

    Raises:
        InvalidInput: scaled in a way that cannot be told from the file.
    """
    width = int(config.get("head_dim", head_dim))
    rope: dict[str, Any] = {
        "rope_theta": float(source.get("{arch}.rope.freq_base", 10_000.0)),
        "rope_type": "default",
    }
    rotated = source.get("{arch}.rope.dimension_count", width)
    original = source.get("{arch}.rope.scaling.original_context_length")
    if config["model_type"] == "phi3":
        rope["partial_rotary_factor"] = rotated / width
        config["original_max_position_embeddings"] = original or config["max_position_embeddings"]
        config["resid_pdrop"] = config["embd_pdrop"] = 0.0
    elif rotated != width:
        raise _unclear(source, f"{rotated} of {width} dimensions are rotated")
    if any(name in source.tensors for name in _LONG):
        return {
            **rope,
            "rope_type": "longrope",
            **{key: source.floats(name).tolist() for name, key in _LONG.items()},
        }
    if _LLAMA3 in source.tensors:
        return {**rope, **_llama3(source, rope, width)}
    return {**rope, **_scaling(source, original)}


def _scaling(source: GGUFFile, original: int | None) -> dict[str, Any]:
    kind = source.get("{arch}.rope.scaling.type", "none")
    factor = source.get("{arch}.rope.scaling.factor")
    if kind == "none" or (kind == "linear" and factor in (None, 1.0)):
        return {}
    if kind == "linear":
        return {"rope_type": "linear", "factor": float(factor)}
    if kind == "yarn" and factor and original:
        return {
            "rope_type": "yarn",
            "factor": float(factor),
            "original_max_position_embeddings": original,
        }
    raise _unclear(source, f"the scaling is '{kind}'")


def _llama3(source: GGUFFile, rope: Mapping[str, Any], width: int) -> dict[str, Any]:
    """Llama 3.1's and 3.2's scaling, of which the file has the divisors alone.

    They share all numbers but the factor, which is the largest divisor: computed from these again,
    the divisors must be the same.
    """
    import numpy as np

    found = source.floats(_LLAMA3)
    scaled = {
        "rope_type": "llama3",
        "factor": float(round(float(found.max()), 4)),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    expected = llama3_factors({**rope, **scaled}, width)
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-4):
        raise _unclear(source, f"{_LLAMA3} is neither Llama 3.1's nor 3.2's")
    return scaled


def _unclear(source: GGUFFile, what: str) -> InvalidInput:
    return InvalidInput(
        f"{source.path} has a rotary embedding that Phoundry cannot read back: {what}.",
        remedy="Use the model's Hugging Face checkpoint instead of its GGUF file.",
    )
