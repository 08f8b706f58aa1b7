"""What an engine loads of a checkpoint: itself, or the GGUF that is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from phoundry.errors import InvalidInput, from_dict
from phoundry.files import read_json
from phoundry.models import gguf_record
from phoundry.models.tensors import weight_files
from phoundry.services import bases, tasks
from phoundry.services.context import Context
from phoundry.specs.quantization import DEFAULT, Quantization

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
    if engine == "transformers":
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
