"""How many requests a batch answers together: as many as memory has room for, within reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phoundry.compute import machine
from phoundry.services import serving_memory

# Beyond this a batch of decoding gains little on a CPU, and each slot holds a context of memory.
MOST = 16
SHARE = 0.8  # of the free memory: a batch runs beside other work


def slots_for(
    model: str,
    engine: str,
    config: Mapping[str, Any],
    files: Mapping[str, Any],
    context: int,
    lines: int,
    asked: int | None,
) -> int:
    """Requests to decode together.

    Args:
        config: the model's config.json.
        files: what the engine loads (see `engine_files`).
        context: tokens of one conversation.
        asked: what the user chose; it is not changed, only checked.

    Raises:
        InsufficientResources: not even one conversation, or what was asked for, fits the memory.
    """
    if engine == "transformers":
        folder = Path(files["checkpoint_dir"])
        weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        serving_memory.check(model, serving_memory.transformers(config, weights, context))
        return 1
    weights = Path(files["gguf_path"]).stat().st_size
    if asked:
        serving_memory.check(model, serving_memory.llama_cpp(config, weights, context, asked))
        return asked
    alone = serving_memory.llama_cpp(config, weights, context, 1)
    serving_memory.check(model, alone)
    each = serving_memory.llama_cpp(config, weights, context, 2) - alone
    free = SHARE * machine.available_memory() - alone
    return max(1, min(MOST, lines, 1 + int(free // max(each, 1))))
