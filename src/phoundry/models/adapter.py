"""A LoRA adapter in PEFT's files: what it says of itself, and the products that it adds.

`adapter_config.json` is checked against what plain LoRA means. Settings that change what an adapter
computes, or the base that it was trained on, are refused by name: merged as if they were not
there, they would give another model than the one that was trained.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from phoundry.errors import Fault, InvalidInput
from phoundry.files import read_json, write_json
from phoundry.models.tensors import SafetensorsFile, Weights

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
FOLDER, KEPT = "adapter", "base.json"  # beside a registered checkpoint
_PREFIX = "base_model.model."
# Settings that change what an adapter computes, and the values for which it is plain LoRA.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    # The others (pissa, olora, corda, loftq, lora_ga) change the base before they begin.
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}
# Settings that say nothing about the sum, whatever their value.
_HARMLESS = frozenset(
    {
        "alpha_pattern",
        "auto_mapping",
        "base_model_name_or_path",
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "lora_dropout",
        "lora_ga_config",
        "loftq_config",
        "megatron_config",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "revision",  # of the base: whoever fetches that looks at it
        "runtime_config",
        "target_modules",
        "task_type",
        "use_rslora",
    }
)


@dataclass(frozen=True, slots=True)
class Delta:
    """What LoRA adds to one matrix: `scale · up @ down`; down `(r, in)`, up `(out, r)`."""

    down: Floats
    up: Floats
    scale: float


def read_settings(folder: Path) -> dict[str, Any]:
    """adapter_config.json of a PEFT folder.

    Raises:
        InvalidInput: no adapter with safetensors, or not plain LoRA: every such setting at once.
    """
    path = folder / CONFIG
    try:
        config: Any = read_json(path)
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}.") from None
    if not isinstance(config, dict) or not (folder / WEIGHTS).is_file():
        raise InvalidInput(
            f"{folder} holds no adapter: {CONFIG} and {WEIGHTS} are needed.",
            remedy="Save it with PEFT's `save_pretrained`, which writes both; adapter_model.bin "
            "runs code when it is read, and is never opened here.",
        )
    settings = cast("dict[str, Any]", config)
    faults = [
        Fault(str(path), f"{key}={value!r}")
        for key, value in {"peft_type": None, **settings}.items()
        if not _is_plain(key, value)
    ]
    if isinstance(settings.get("lora_alpha", 8), bool | str):
        faults.append(Fault(str(path), f"lora_alpha={settings['lora_alpha']!r} is no number"))
    if faults:
        raise InvalidInput(
            "Only plain LoRA can be merged.",
            faults=faults,
            remedy="Merge it where it was trained (PEFT's `merge_and_unload`, then "
            "`save_pretrained`) and name the folder of the merged model.",
        )
    return settings


def _is_plain(key: str, value: Any) -> bool:
    if key in _PLAIN:
        return value in _PLAIN[key]
    # A setting that is not known here may change anything, unless it is off.
    return key in _HARMLESS or value in (None, False, [], {}, "")


def read_adapter(folder: Path) -> dict[str, Delta]:
    """The adapter in a PEFT folder, by the name of the weight that it changes.

    Raises:
        InvalidInput: no adapter, not plain LoRA, an A without its B, or another rank than the
            config says.
    """
    settings = read_settings(folder)
    file = SafetensorsFile(folder / WEIGHTS)
    deltas: dict[str, Delta] = {}
    for name in file.tensors:
        if name.endswith(".lora_B.weight"):
            continue
        module = name.removeprefix(_PREFIX).removesuffix(".lora_A.weight")
        other = f"{_PREFIX}{module}.lora_B.weight"
        if not name.endswith(".lora_A.weight") or other not in file.tensors:
            raise InvalidInput(
                f"{folder / WEIGHTS} holds '{name}', which is no part of a LoRA.",
                remedy="Only matrices A and B of linear layers can be merged: no trained "
                "embeddings, and no resized vocabulary.",
            )
        down, up = file.floats(name), file.floats(other)
        _check_rank(folder, settings, module, down.shape, up.shape)
        deltas[f"{module}.weight"] = Delta(down, up, _scale(settings, module, down.shape[0]))
    if not deltas:
        raise InvalidInput(f"{folder / WEIGHTS} holds no LoRA.")
    return deltas


def keep(adapter: Path, base_sha256: str | None, folder: Path) -> None:
    """Copy an adapter's two files into `folder`, and write down the weights of its base: a process
    that serves several fine-tunes loads these, and not the merged model."""
    folder.mkdir(parents=True)
    for name in (WEIGHTS, CONFIG):
        shutil.copyfile(adapter / name, folder / name)
    write_json(folder / KEPT, {"base_sha256": base_sha256})


def kept(checkpoint: Path) -> Path | None:
    """The adapter from which a registered checkpoint was merged; None of any other.

    It lies beside the checkpoint. Those registered before adapters were kept have none.
    """
    folder = checkpoint.with_name(FOLDER)
    return folder if (folder / KEPT).is_file() else None


def kept_base(folder: Path) -> str | None:
    """SHA-256 of the weights of the base, where it was known."""
    known: dict[str, str | None] = read_json(folder / KEPT) or {}
    return known.get("base_sha256")


def check_whole(
    folder: Path, settings: Mapping[str, Any], deltas: Mapping[str, Delta], weights: Weights
) -> None:
    """Raise InvalidInput if a layer that the config names has no part in the adapter's file.

    Only a plain list of names tells which layers these are: those whose last names they are.
    """
    targets: Any = settings.get("target_modules")
    if not isinstance(targets, list) or any(
        settings.get(key) for key in ("layers_to_transform", "exclude_modules")
    ):
        return
    ends = tuple(f".{name}" for name in cast("list[Any]", targets))
    missing = [
        name
        for name in weights.names
        if f".{name.removesuffix('.weight')}".endswith(ends)
        and len(weights.info(name).shape) == 2
        and name not in deltas
    ]
    if missing:
        raise InvalidInput(
            f"{folder / WEIGHTS} lacks its part for {len(missing)} layers that {CONFIG} names, "
            f"such as '{missing[0]}'.",
            remedy="Save or copy the adapter again; it may have been cut short.",
        )


def _check_rank(
    folder: Path,
    settings: Mapping[str, Any],
    module: str,
    down: tuple[int, ...],
    up: tuple[int, ...],
) -> None:
    rank = int(_by_pattern(settings.get("rank_pattern"), module, settings.get("r", 8)))
    if len(down) != 2 or len(up) != 2 or down[0] != rank or up[1] != rank:
        raise InvalidInput(
            f"{folder / WEIGHTS} holds A {down} and B {up} for '{module}'; {folder / CONFIG} says "
            f"a rank of {rank}.",
            remedy="The two files belong to different adapters: copy both from one place.",
        )


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """`alpha / r`, or `alpha / sqrt(r)` for rank-stabilised LoRA (PEFT's LoraLayer)."""
    alpha = _by_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha", 8))
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _by_pattern(patterns: Any, module: str, default: Any) -> Any:
    """The first value whose pattern ends `module`, as PEFT looks them up."""
    for pattern, value in cast("dict[str, Any]", patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return value
    return default
