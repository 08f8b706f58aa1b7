"""Deployments: checkpoint → GGUF → replica → ready; restarts with back-off; deletion."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import machine, workers
from phoundry.errors import PhoundryError, from_dict
from phoundry.files import read_json
from phoundry.models import gguf_record
from phoundry.models.tensors import weight_files
from phoundry.services import bases, defaults, deployments, serving_memory, tasks
from phoundry.services.context import Context, now, record
from phoundry.services.reconcile.isolation import each
from phoundry.specs.quantization import DEFAULT, Quantization
from phoundry.store.tables import DeploymentRow, EndpointRow

GRACE = timedelta(seconds=15)
MAX_FAILURES = 5  # in a row
STEADY_SECONDS = 60.0  # a replica that served for so long ends a row of failures


def tick(context: Context) -> None:
    """Move every deployment on by one step, and forget what was deleted."""
    each(context, DeploymentRow, DeploymentRow.state != "Deleting", move=_step, fail=_stumble)
    remove_deleted(context)


def remove_deleted(context: Context) -> None:
    """Remove deployments in deletion whose replica has ended, then endpoints with none left."""
    each(context, DeploymentRow, DeploymentRow.state == "Deleting", move=_remove, fail=_keep)
    each(context, EndpointRow, EndpointRow.state == "Deleting", move=_forget, fail=_keep)


def stop_all(context: Context) -> None:
    """Ask every replica to end; the deployments stay and come back with the next start."""
    with context.database.begin() as session:
        for row in session.scalars(select(DeploymentRow).filter_by(workspace=context.workspace)):
            workers.terminate(Path(row.run_dir))
            if row.state != "Deleting" and row.replica != "failed":
                row.replica = "waiting"


def _step(session: Session, context: Context, row: DeploymentRow) -> None:
    if row.replica == "waiting":
        _start(session, context, row)
    elif row.replica in ("starting", "ready"):
        _watch(session, context, row)
    elif row.replica == "crashed" and row.retry_at and now() >= row.retry_at:
        row.replica = "waiting"


def _start(session: Session, context: Context, row: DeploymentRow) -> None:
    checkpoint = bases.checkpoint(session, context, row.spec["model"])
    if checkpoint is None:
        return
    if row.spec["engine"] == "transformers":
        files: dict[str, Any] = _checkpoint(session, context, checkpoint)
    else:
        gguf = _converted(session, context, row, checkpoint)
        if gguf is None:
            return
        files = {"gguf_path": str(gguf)}
    config: dict[str, Any] = read_json(checkpoint / "config.json") or {}
    asked: int | None = row.spec["context_length"]
    context_length = defaults.context_length(row.spec["model"], asked, config)
    wanted = row.spec["request_settings"]["max_concurrent_requests_per_instance"]
    slots = min(wanted, serving_memory.SLOTS)
    _check_memory(row.spec["model"], config, files, context_length, slots)
    spec = {
        "name": f"{row.endpoint}/{row.name}",
        "engine": row.spec["engine"],
        **files,
        "tokenizer_dir": str(checkpoint),
        "model_name": row.endpoint,
        "context_length": context_length,
        "slots": slots,
        "threads": machine.cores(),
        "defaults": defaults.of(row),
        "token": context.vault.decrypt(row.token),
    }
    pid = workers.start(Path(row.run_dir), "phoundry.serving.replica", spec)
    row.replica = "starting"
    _note(session, context, row, "starting", f"Replica in process {pid}.")


def _checkpoint(session: Session, context: Context, folder: Path) -> dict[str, Any]:
    """What the engine loads, and by what it knows that nothing has changed since."""
    return {
        "checkpoint_dir": str(folder),
        "weights": [path.name for path in weight_files(folder)],
        "sha256": bases.recorded_sha256(session, context, folder),
    }


def _watch(session: Session, context: Context, row: DeploymentRow) -> None:
    state = workers.inspect(Path(row.run_dir))
    if state.running:
        defaults.deliver(row)  # a change may have been cut off between the row and the replica
        if state.ready and row.replica != "ready":
            row.replica, row.state, row.error = "ready", "Succeeded", None
            _note(session, context, row, "ready", "The replica answers.")
        elif row.failures and _steady(Path(row.run_dir)):
            row.failures = 0
        return
    row.restarts += 1
    error = (state.result or {}).get("error") or {
        "code": "WorkerFailed",
        "message": f"The replica's process {state.pid or ''} ended without a word.",
        "remedy": f"See `phoundry deployment logs {row.endpoint}/{row.name}`.",
    }
    _try_again(session, context, row, error)


def _steady(run_dir: Path) -> bool:
    """Whether the replica has been ready for so long that its next end is the first of a row."""
    try:
        ready = (run_dir / "ready.json").stat().st_mtime
    except FileNotFoundError:
        return False
    return time.time() - ready > STEADY_SECONDS


def _try_again(
    session: Session, context: Context, row: DeploymentRow, error: dict[str, Any]
) -> None:
    """Start the replica once more, later each time; after too many failures, give up."""
    row.failures += 1
    if row.failures >= MAX_FAILURES:
        _fail(session, context, row, error)
        return
    delay = 0 if row.failures == 1 else 2 ** (row.failures - 1)
    row.replica, row.retry_at, row.error = "crashed", now() + timedelta(seconds=delay), error
    _note(session, context, row, "crashed", f"{error['message']} Starting again in {delay} s.")


def _converted(
    session: Session, context: Context, row: DeploymentRow, checkpoint: Path
) -> Path | None:
    """The GGUF of a checkpoint, or None while it is being made. Checkpoints never change."""
    kind: Quantization = row.spec.get("quantization") or DEFAULT
    path = bases.ggufs(context.home, checkpoint)[kind]
    if gguf_record.complete(path):
        found = gguf_record.recorded(path) or {}
        told = [notice for notice in found.get("notices", []) if notice not in row.notices]
        row.notices = [*row.notices, *told]
        return path
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


def _check_memory(
    model: str, config: dict[str, Any], files: dict[str, Any], context: int, slots: int
) -> None:
    """Raise InsufficientResources where weights, caches and process exceed what is free."""
    if "gguf_path" in files:
        weights = Path(files["gguf_path"]).stat().st_size
        needed = serving_memory.llama_cpp(config, weights, context, slots)
    else:
        folder = Path(files["checkpoint_dir"])
        weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        needed = serving_memory.transformers(config, weights, context)
    serving_memory.check(model, needed)


def _remove(session: Session, context: Context, row: DeploymentRow) -> None:
    run_dir = Path(row.run_dir)
    if not workers.inspect(run_dir).running:
        deployments.forget(session, row)
        _note(session, context, row, "deleted", "Deleted.")
    elif row.stopping_since and now() - row.stopping_since > GRACE:
        workers.kill(run_dir)
    else:
        workers.terminate(run_dir)


def _forget(session: Session, context: Context, row: EndpointRow) -> None:
    """Remove an endpoint in deletion once none of its deployments is left."""
    left = select(DeploymentRow).filter_by(workspace=context.workspace, endpoint=row.name)
    if session.scalars(left).first() is None:
        session.delete(row)


def _keep(session: Session, context: Context, row: Any, error: PhoundryError) -> None:
    """Its deletion could not be ended; the log says why, and the next tick tries again."""


def _stumble(session: Session, context: Context, row: DeploymentRow, error: PhoundryError) -> None:
    """What cannot be started has failed; what has served before is tried again for a while."""
    if row.state == "Succeeded":
        _try_again(session, context, row, error.to_dict())
    elif row.state == "Creating":
        _fail(session, context, row, error.to_dict())


def _fail(session: Session, context: Context, row: DeploymentRow, error: dict[str, Any]) -> None:
    if row.state == "Failed":
        return
    row.state, row.replica, row.error = "Failed", "failed", error
    _note(session, context, row, "failed", str(error["message"]))


def _note(session: Session, context: Context, row: DeploymentRow, kind: str, text: str) -> None:
    record(session, context, f"deployment/{row.endpoint}/{row.name}", kind, text)
