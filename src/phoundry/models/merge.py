"""A LoRA adapter merged into its base: `W + scale · B · A`, tensor by tensor.

Works on names and shapes alone, so a fused matrix (Phi-3's qkv_proj, gate_up_proj) is merged like
any other: its adapter has the fused shape. The sum is made in float32 and rounded once, to the
type that the base has. `merge_check` then compares logits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from phoundry.errors import InvalidInput, ModelError
from phoundry.files import read_json
from phoundry.models.checkpoints import copy_tokenizer, read_config
from phoundry.models.tensors import (
    SINGLE,
    Planned,
    SafetensorsFile,
    Weights,
    from_float32,
    write_safetensors,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model."
# Settings of PEFT that change what an adapter computes, and the values for which it is plain LoRA.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "use_qalora": (False, None),
    "use_bdlora": (False, None),
    "lora_bias": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "layer_replication": (None,),
    "trainable_token_indices": (None,),
    "alora_invocation_tokens": (None,),
    "arrow_config": (None,),
}


@dataclass(frozen=True, slots=True)
class Delta:
    """What LoRA adds to one matrix: `scale · up @ down`; down `(r, in)`, up `(out, r)`."""

    down: Floats
    up: Floats
    scale: float


def read_adapter(folder: Path) -> dict[str, Delta]:
    """The adapter in a PEFT folder, by the name of the weight that it changes.

    Raises:
        InvalidInput: no adapter, not plain LoRA, or an A without its B.
    """
    config: Any = read_json(folder / CONFIG)
    if not isinstance(config, dict) or not (folder / WEIGHTS).is_file():
        raise InvalidInput(f"{folder} holds no adapter: {CONFIG} and {WEIGHTS} are needed.")
    settings = cast("dict[str, Any]", config)
    for key, plain in _PLAIN.items():
        if settings.get(key, plain[0]) not in plain:
            raise InvalidInput(
                f"{folder / CONFIG} has {key}={settings[key]!r}; only plain LoRA can be merged."
            )
    file = SafetensorsFile(folder / WEIGHTS)
    deltas: dict[str, Delta] = {}
    for name in file.tensors:
        if name.endswith(".lora_B.weight"):
            continue
        module = name.removeprefix(_PREFIX).removesuffix(".lora_A.weight")
        other = f"{_PREFIX}{module}.lora_B.weight"
        if not name.endswith(".lora_A.weight") or other not in file.tensors:
            raise InvalidInput(f"{folder / WEIGHTS} holds '{name}', which is no part of a LoRA.")
        down, up = file.floats(name), file.floats(other)
        deltas[f"{module}.weight"] = Delta(down, up, _scale(settings, module, down.shape[0]))
    if not deltas:
        raise InvalidInput(f"{folder / WEIGHTS} holds no LoRA.")
    return deltas


def merge(base: Path, adapter: Path, folder: Path) -> str:
    """Write the merged checkpoint into the existing `folder`; returns the weights' SHA-256.

    The caller makes it atomic (`files.atomic_folder`).

    Raises:
        InvalidInput: the adapter does not belong to this base.
        ModelError: the adapter holds values that are not finite.
    """
    read_config(base)
    deltas, weights = read_adapter(adapter), Weights(base)
    for name, delta in deltas.items():
        _check(name, delta, weights, base)
    plan: list[Planned] = []
    for name in sorted(weights.names):
        info = weights.info(name)
        make = partial(weights.raw, name)
        if name in deltas:
            make = partial(_merged, weights, name, deltas[name])
        plan.append(Planned(name, info.dtype, info.shape, make))
    copy_tokenizer(base, folder)
    return write_safetensors(folder / SINGLE, plan)


def _merged(weights: Weights, name: str, delta: Delta) -> memoryview:
    # The small matrix takes the scale; a Python number leaves it float32.
    values: Any = (delta.up * delta.scale) @ delta.down
    values += weights.floats(name)
    return from_float32(values, weights.info(name).dtype)


def _check(name: str, delta: Delta, weights: Weights, base: Path) -> None:
    import numpy as np

    shape = (delta.up.shape[0], delta.down.shape[1])
    if name not in weights or weights.info(name).shape != shape:
        found = weights.info(name).shape if name in weights else "no such weight"
        raise InvalidInput(
            f"The adapter does not belong to {base}: it changes '{name}' of the shape {shape}; "
            f"the base has {found}.",
            remedy="Merge it into the base model that it was trained on.",
        )
    if not (np.isfinite(delta.up).all() and np.isfinite(delta.down).all()):
        raise ModelError(
            f"The adapter of '{name}' holds values that are not finite: the training diverged.",
            remedy="Train again with a lower learning rate.",
        )


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """`alpha / r`, or `alpha / sqrt(r)` for rank-stabilised LoRA (PEFT's LoraLayer)."""
    alpha = config["lora_alpha"]
    patterns: Mapping[str, Any] = config.get("alpha_pattern") or {}
    for pattern, value in patterns.items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            alpha = value
            break
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)
