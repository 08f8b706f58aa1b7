"""What a replica's process is told: files, memory, limits. Files that lack are made first."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import machine, workers
from phoundry.files import read_json
from phoundry.models import gguf_record
from phoundry.services import bases, defaults, engine_files, revisions, serving_memory
from phoundry.services.context import Context
from phoundry.specs.quantization import Quantization
from phoundry.store.tables import DeploymentRow, ReplicaRow

GRACE_SECONDS = 30  # that a replica leaves its requests at least, when it is told to end


def worker_spec(
    session: Session,
    context: Context,
    row: DeploymentRow,
    replica: ReplicaRow,
    *,
    freed: int = 0,
) -> dict[str, Any] | None:
    """What the replica's process is told, or None while its files are being made.

    Args:
        freed: bytes of memory that are about to be free.

    Raises:
        InsufficientResources: it does not fit into memory.
        PhoundryError: its files cannot be made.
    """
    spec = revisions.spec_of(row, replica.revision)
    checkpoint = bases.checkpoint(session, context, spec["model"])
    if checkpoint is None:
        return None
    files = _files(session, context, row, spec, checkpoint)
    if files is None:
        return None
    config: dict[str, Any] = read_json(checkpoint / "config.json") or {}
    context_length = defaults.context_length(spec["model"], spec["context_length"], config)
    slots = serving_memory.slots(spec["request_settings"])
    needed = _memory(config, files, context_length, slots)
    claimed = _claimed(session, context) - freed
    serving_memory.check(spec["model"], needed, claimed=claimed)
    return {
        "name": f"{row.endpoint}/{row.name}",
        "engine": spec["engine"],
        **files,
        "tokenizer_dir": str(checkpoint),
        "model_name": row.endpoint,
        "context_length": context_length,
        "slots": slots,
        "threads": machine.cores(),
        "defaults": defaults.of(spec),
        "data_collector": spec.get("data_collector"),
        "collect_dir": str(context.home.collected / row.endpoint / row.name),
        "model": spec["model"],
        "grace_seconds": grace_seconds(spec),
        "memory_bytes": needed,
        "token": context.vault.decrypt(replica.token),
    }


def grace_seconds(spec: dict[str, Any]) -> int:
    """How long a replica that is told to end leaves its requests: as long as one may take."""
    timeout: int = spec["request_settings"]["request_timeout_ms"]
    return max(GRACE_SECONDS, math.ceil(timeout / 1000))


def _files(
    session: Session, context: Context, row: DeploymentRow, spec: dict[str, Any], checkpoint: Path
) -> dict[str, Any] | None:
    """What the engine loads, or None while it is being made; the row tells what was noticed."""
    kind: Quantization | None = spec.get("quantization")
    found = engine_files.ready(session, context, spec["engine"], kind, checkpoint)
    if found and "gguf_path" in found:
        record = gguf_record.recorded(Path(found["gguf_path"])) or {}
        told = [each for each in record.get("notices", []) if each not in row.notices]
        if told:
            row.notices = [*row.notices, *told]
    return found


def _memory(config: dict[str, Any], files: dict[str, Any], context: int, slots: int) -> int:
    """Bytes that a replica takes: weights, caches and process."""
    if "gguf_path" in files:
        weights = Path(files["gguf_path"]).stat().st_size
        return serving_memory.llama_cpp(config, weights, context, slots)
    folder = Path(files["checkpoint_dir"])
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return serving_memory.transformers(config, weights, context)


def _claimed(session: Session, context: Context) -> int:
    """Bytes that replicas which are starting have not taken yet."""
    query = select(ReplicaRow.run_dir).filter_by(workspace=context.workspace, state="starting")
    claimed = 0
    for folder in map(Path, session.scalars(query)):
        told: dict[str, Any] = read_json(folder / "spec.json") or {}
        worker = workers.inspect(folder)
        taken = (workers.memory_bytes(worker.pid) if worker.pid else None) or 0
        if worker.running and not worker.ready:
            claimed += max(0, int(told.get("memory_bytes", 0)) - taken)
    return claimed
