"""What a replica takes of the machine's memory, beside and with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phoundry.compute import machine
from phoundry.errors import InsufficientResources
from phoundry.models import catalog
from phoundry.specs.deployment import RequestSettings

# Conversations decoded together: so many whatever their caches cost, …
FEWEST = 4
# … more where the caches of all take no more bytes than this, …
CACHES = 1_000_000_000
# … and never more than this: beyond it a batch of decoding gains little on a processor.
MOST = 16
# A replica beside weights and cache: its process, and its tokenizer by its vocabulary (measured;
# docs/design/models.md).
LLAMA_BYTES = 100_000_000
TRANSFORMERS_BYTES = 550_000_000
BYTES_PER_TOKEN = 1_000  # of the vocabulary


def llama_cpp(config: Mapping[str, Any], weights: int, context: int, slots: int) -> int:
    """Bytes of a llama.cpp replica; the cache of every slot is taken when it starts.

    Args:
        config: the model's config.json.
        weights: bytes of its GGUF.
        context: tokens of one conversation.
        slots: conversations decoded together.
    """
    caches = slots * catalog.cache_bytes(config, context)
    return weights + caches + LLAMA_BYTES + BYTES_PER_TOKEN * int(config["vocab_size"])


def transformers(config: Mapping[str, Any], weights: int, context: int) -> int:
    """Bytes of a transformers replica, which decodes one conversation at a time."""
    cache = catalog.cache_bytes(config, context)
    return weights + cache + TRANSFORMERS_BYTES + BYTES_PER_TOKEN * int(config["vocab_size"])


def needed(config: Mapping[str, Any], files: Mapping[str, Any], context: int, slots: int) -> int:
    """Bytes of a process that loads `files` (see `engine_files`): weights, caches and itself."""
    if "gguf_path" in files:
        weights = Path(files["gguf_path"]).stat().st_size
        return llama_cpp(config, weights, context, slots)
    folder = Path(files["checkpoint_dir"])
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return transformers(config, weights, context)


def slots(request_settings: Mapping[str, Any], config: Mapping[str, Any], context: int) -> int:
    """Conversations of `context` tokens that a replica decodes together: as many as it may be
    asked at once, within what their caches may cost (FEWEST, CACHES, MOST)."""
    affordable = CACHES // max(1, catalog.cache_bytes(config, context))
    return min(most_slots(request_settings), max(FEWEST, affordable))


def most_slots(request_settings: Mapping[str, Any]) -> int:
    """Conversations that a replica of a model with small caches decodes together."""
    return min(int(request_settings["max_concurrent_requests_per_instance"]), MOST)


def usual_slots(config: Mapping[str, Any], context: int) -> int:
    """`slots` of a deployment that says nothing of how many requests come at once."""
    return slots(RequestSettings().model_dump(), config, context)


def check(model: str, needed: int, *, claimed: int = 0) -> None:
    """Raise InsufficientResources where `needed` bytes are more than what is free.

    Args:
        claimed: of what is free, bytes that others which start just now will take; negative where
            some are about to be freed.
    """
    available = max(0, machine.available_memory() - claimed)
    if needed > available:
        raise InsufficientResources(
            f"Serving '{model}' takes about {needed / 1e9:.1f} GB of memory, its conversations "
            f"included; {available / 1e9:.1f} GB are free.",
            remedy="Delete another deployment, or choose a smaller model, a smaller "
            "context_length, or fewer max_concurrent_requests_per_instance.",
        )
