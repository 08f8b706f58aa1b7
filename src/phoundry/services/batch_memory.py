"""How many requests a batch answers together: as many as memory has room for, within reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phoundry.compute import machine
from phoundry.services import serving_memory
from phoundry.services.serving_memory import MOST, needed

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
        serving_memory.check(model, needed(config, files, context, 1))
        return 1
    if asked:
        serving_memory.check(model, needed(config, files, context, asked))
        return asked
    alone = needed(config, files, context, 1)
    serving_memory.check(model, alone)
    each = needed(config, files, context, 2) - alone
    free = SHARE * machine.available_memory() - alone
    return max(1, min(MOST, lines, 1 + int(free // max(each, 1))))
