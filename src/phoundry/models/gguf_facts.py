"""What a converted file says of its model, held against what transformers makes of the config.

A wrong epsilon, or a rotary base that is off by two, moves the logits of a real model by less than
eight-bit activations do. Numbers are exact, so they are compared as numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phoundry.errors import Fault, ModelError
from phoundry.models.gguf_file import GGUFFile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_NUMBERS = {
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
_CLOSE = 1e-5  # relative; the file has float32


def check_facts(file: GGUFFile, model: Any) -> None:
    """Raise ModelError, with every fault, where `file` does not say what `model` is.

    `model` is transformers' (its weights are not looked at). YaRN's frequencies, which llama.cpp
    computes itself, are left to the comparison of logits.
    """
    import numpy as np

    faults: list[Fault] = []
    for key, name in _NUMBERS.items():
        found, expected = file.get("{arch}." + key), getattr(model.config, name)
        if found is None or abs(found - expected) > _CLOSE * abs(expected):
            faults.append(Fault(key, f"{found} instead of {expected}"))
    found, expected = _frequencies(file), _expected(model)
    if found is not None and (
        found.shape != expected.shape or not np.allclose(found, expected, rtol=_CLOSE, atol=0)
    ):
        faults.append(Fault("rope", "other rotary frequencies than the model's"))
    if faults:
        raise ModelError(
            "The file that was made does not describe the model: "
            + "; ".join(str(fault) for fault in faults)
            + ".",
            remedy="Please tell the authors of Phoundry which model this is: this is a mistake of "
            "ours. The engine transformers serves it meanwhile.",
        )


def _frequencies(file: GGUFFile) -> Floats | None:
    """The rotary frequencies that llama.cpp will use for short texts, `(rotated / 2,)`."""
    import numpy as np

    if (scaling := file.get("{arch}.rope.scaling.type")) == "yarn":
        return None
    base = float(file.get("{arch}.rope.freq_base"))
    rotated = int(file.get("{arch}.rope.dimension_count"))
    found = base ** -(np.arange(0, rotated, 2, dtype=np.float64) / rotated)
    if scaling == "linear":
        found /= float(file.get("{arch}.rope.scaling.factor"))
    for name in ("rope_freqs.weight", "rope_factors_short.weight"):
        if name in file.tensors:
            found /= file.floats(name)
    return found.astype(np.float32)


def _expected(model: Any) -> Floats:
    rotary = model.model.rotary_emb
    # Gemma 3 has others for its layers with a window.
    name = "full_attention_inv_freq" if hasattr(rotary, "full_attention_inv_freq") else "inv_freq"
    return getattr(rotary, name).float().numpy()
