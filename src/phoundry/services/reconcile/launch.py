"""What a replica's process is told: files, memory, limits. Files that lack are made first."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import machine, workers
from phoundry.files import read_json
from phoundry.models import gguf_record
from phoundry.services import (
    bases,
    defaults,
    engine_files,
    flow_deployments,
    revisions,
    serving_memory,
)
from phoundry.services.context import Context
from phoundry.specs.deployment import serves_flow
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
    if serves_flow(spec):
        return flow_deployments.worker_spec(session, context, row, replica, grace_seconds(spec))
    checkpoint = bases.checkpoint(session, context, spec["model"])
    if checkpoint is None:
        return None
    files = _files(session, context, row, spec, checkpoint)
    if files is None:
        return None
    config: dict[str, Any] = read_json(checkpoint / "config.json") or {}
    context_length = defaults.context_length(spec["model"], spec["context_length"], config)
    slots = serving_memory.slots(spec["request_settings"], config, context_length)
    threads = machine.cores()
    if "adapter_path" in files:
        common = (files["gguf_path"], context_length, slots, threads)
        files["pool_dir"] = str(_pool(context, common))
    needed = serving_memory.needed(config, files, context_length, slots)
    claimed = _claimed(session, context, files.get("pool_dir")) - freed
    serving_memory.check(spec["model"], needed, claimed=claimed)
    return {
        "name": f"{row.endpoint}/{row.name}",
        "engine": spec["engine"],
        **files,
        "tokenizer_dir": str(checkpoint),
        "model_name": row.endpoint,
        "context_length": context_length,
        "slots": slots,
        "threads": threads,
        "defaults": defaults.of(spec),
        "data_collector": spec.get("data_collector"),
        "collect_dir": str(context.home.collected / row.endpoint / row.name),
        "model": spec["model"],
        "grace_seconds": grace_seconds(spec),
        "memory_bytes": needed,
        "token": context.vault.decrypt(replica.token),
    }


def module(spec: dict[str, Any]) -> str:
    """What a replica with this worker's spec runs."""
    if "packed" in spec:
        return flow_deployments.MODULE
    name = "phoundry.serving.replica"
    return f"{name}.member" if "pool_dir" in spec else name


def private(
    session: Session, context: Context, row: DeploymentRow, replica: ReplicaRow
) -> bytes | None:
    """What a replica is told that may stand in no file, or None."""
    spec = revisions.spec_of(row, replica.revision)
    if not serves_flow(spec):
        return None
    name, names = f"{row.endpoint}/{row.name}", spec["snapshot"]["names"]
    return flow_deployments.private(session, context, name, names)


def _pool(context: Context, common: tuple[Any, ...]) -> Path:
    """The folder of the process that serves all adapters with the same `common` settings."""
    digest = hashlib.sha256(repr(common).encode()).hexdigest()[:16]
    return context.home.run("pool", digest)


def grace_seconds(spec: dict[str, Any]) -> int:
    """How long a replica that is told to end leaves its requests: as long as one may take."""
    timeout: int = spec["request_settings"]["request_timeout_ms"]
    return max(GRACE_SECONDS, math.ceil(timeout / 1000))


def _files(
    session: Session, context: Context, row: DeploymentRow, spec: dict[str, Any], checkpoint: Path
) -> dict[str, Any] | None:
    """What the engine loads, or None while it is being made; the row tells what was noticed."""
    kind: Quantization | None = spec.get("quantization")
    if spec.get("adapter") == "shared":
        found = engine_files.shared(session, context, kind, spec["model"], checkpoint)
    else:
        found = engine_files.ready(session, context, spec["engine"], kind, checkpoint)
    if found and "gguf_path" in found:
        record = gguf_record.recorded(Path(found["gguf_path"])) or {}
        told = [each for each in record.get("notices", []) if each not in row.notices]
        if told:
            row.notices = [*row.notices, *told]
    return found


def _claimed(session: Session, context: Context, pool: str | None) -> int:
    """Bytes that replicas which are starting have not taken yet; those that share count once, and
    in their own `pool` not at all."""
    query = select(ReplicaRow.run_dir).filter_by(workspace=context.workspace, state="starting")
    claimed: dict[str, int] = {}
    for folder in map(Path, session.scalars(query)):
        told: dict[str, Any] = read_json(folder / "spec.json") or {}
        worker = workers.inspect(folder)
        taken = (workers.memory_bytes(worker.pid) if worker.pid else None) or 0
        if worker.running and not worker.ready:
            claimed[told.get("pool_dir") or str(folder)] = int(told.get("memory_bytes", 0)) - taken
    return sum(max(0, size) for where, size in claimed.items() if where != pool)
