"""A LoRA adapter merged into its base: `W + scale · B · A`, tensor by tensor.

Works on names and shapes alone, so a fused matrix (Phi-3's qkv_proj, gate_up_proj) is merged like
any other: its adapter has the fused shape. The sum is made in float32 and rounded once, to the
type that the base has. `merge_check` then compares logits.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from phoundry.errors import InvalidInput, ModelError
from phoundry.models.adapter import Delta, check_whole, read_adapter, read_settings
from phoundry.models.checkpoints import copy_tokenizer, read_config
from phoundry.models.tensors import SINGLE, Planned, Weights, from_float32, write_safetensors


def merge(base: Path, adapter: Path, folder: Path) -> str:
    """Write the merged checkpoint into the existing `folder`; returns the weights' SHA-256.

    The caller makes it atomic (`files.atomic_folder`).

    Raises:
        InvalidInput: the adapter does not belong to this base.
        ModelError: the adapter holds values that are not finite.
    """
    read_config(base)
    deltas, weights = read_adapter(adapter), Weights(base)
    check_whole(adapter, read_settings(adapter), deltas, weights)
    for name, delta in deltas.items():
        check_fits(name, delta, weights, base)
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


def check_fits(name: str, delta: Delta, weights: Weights, base: Path) -> None:
    """Hold one layer of an adapter against the base's matrix of that name.

    Raises:
        InvalidInput: the base has none, or one of another shape.
        ModelError: the adapter holds values that are not finite.
    """
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
