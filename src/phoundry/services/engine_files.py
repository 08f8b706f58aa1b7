"""What an engine loads of a checkpoint: itself, or the GGUF that is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from phoundry.errors import Conflict, InvalidInput, from_dict
from phoundry.files import read_json
from phoundry.models import gguf_record
from phoundry.models.adapter import kept, kept_base
from phoundry.models.tensors import weight_files
from phoundry.services import bases, tasks
from phoundry.services.context import Context
from phoundry.specs.quantization import DEFAULT, WHOLE, Quantization

# Architectures (config.json's model_type) that OpenVINO's reader of GGUF takes.
OPENVINO = ("llama", "qwen2", "qwen3")


def check(engine: str, config: Mapping[str, Any]) -> None:
    """Raise InvalidInput where `engine` cannot serve a model of this config.json."""
    kind = config.get("model_type")
    if engine == "openvino" and kind is not None and kind not in OPENVINO:
        raise InvalidInput(
            f"The engine openvino reads {', '.join(OPENVINO)}; this model is {kind}.",
            remedy="Leave --engine out: llama.cpp serves it.",
        )


def shared(
    session: Session,
    context: Context,
    quantization: Quantization | None,
    model: str,
    checkpoint: Path,
) -> dict[str, Any] | None:
    """As `ready`, for a fine-tune that is served as an adapter: its base's GGUF, and its own.

    Raises:
        InvalidInput: the model is no LoRA fine-tune that was registered with its adapter.
        Conflict: its base is another one by now.
        PhoundryError: the base cannot be had, or a conversion failed.
    """
    row, adapter = bases.registered(session, context, model), kept(checkpoint)
    if row is None or not row.base_model or adapter is None:
        raise InvalidInput(
            f"'{model}' has no adapter of its own to be served with `adapter: shared`.",
            remedy="Leave `adapter` out. Only a LoRA fine-tune has one; a version registered by an "
            "older Phoundry has it once its job is registered again.",
        )
    base = bases.checkpoint(session, context, row.base_model)
    if base is None:
        return None
    found, trained = bases.recorded_sha256(session, context, base), kept_base(adapter)
    if found and trained and found != trained:
        raise Conflict(
            f"The base model '{row.base_model}' is not the one that '{model}' was trained on: its "
            f"weights have the SHA-256 {found[:12]}…, not {trained[:12]}….",
            remedy="Serve it merged: leave `adapter: shared` out.",
        )
    files = ready(session, context, "llama.cpp", quantization, base)
    key, path = bases.adapter_gguf(context.home, checkpoint)
    if not path.is_file():
        places = {"adapter_dir": adapter, "base_checkpoint_dir": base, "gguf_path": path}
        spec = {name: str(place) for name, place in places.items()}
        task = tasks.ensure(session, context, key, "phoundry.models.adapter_gguf", spec)
        if task.error:
            raise from_dict(task.error)
        return None
    return files and {**files, "adapter_path": str(path)}


def ready(
    session: Session,
    context: Context,
    engine: str,
    quantization: Quantization | None,
    checkpoint: Path,
) -> dict[str, Any] | None:
    """The keys of a worker's spec that say what to load, or None while the GGUF is being made.

    Raises:
        InvalidInput: the engine does not know the model's architecture.
        PhoundryError: the conversion failed.
    """
    check(engine, read_json(checkpoint / "config.json") or {})
    if engine in WHOLE:
        return {
            "checkpoint_dir": str(checkpoint),
            "weights": [path.name for path in weight_files(checkpoint)],
            "sha256": bases.recorded_sha256(session, context, checkpoint),
        }
    kind = quantization or DEFAULT
    path = bases.ggufs(context.home, checkpoint)[kind]
    if gguf_record.complete(path):
        return {"gguf_path": str(path)}
    spec = {
        "checkpoint_dir": str(checkpoint),
        "gguf_path": str(path),
        "quantization": kind,
        "sha256": bases.recorded_sha256(session, context, checkpoint),
    }
    key = bases.conversion_key(checkpoint, kind)
    task = tasks.ensure(session, context, key, "phoundry.models.convert", spec)
    if task.error:
        raise from_dict(task.error)
    return None
