"""What runs on this home."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from phoundry.compute import workers
from phoundry.files import read_json
from phoundry.services import models, replicas
from phoundry.services.context import Context
from phoundry.specs.status import Process, Status
from phoundry.store.tables import (
    ConnectionRow,
    DataAssetRow,
    DeploymentRow,
    EndpointRow,
    JobRow,
    ModelRow,
    ReplicaRow,
    TaskRow,
)
from phoundry.version import __version__

_COUNTED = {
    "data": DataAssetRow,
    "jobs": JobRow,
    "models": ModelRow,
    "endpoints": EndpointRow,
    "deployments": DeploymentRow,
    "connections": ConnectionRow,
}


def show(context: Context, *, address: str | None = None) -> Status:
    """The status; `address` is the control plane's own where it is the one that answers."""
    with context.begin("status/read") as session:
        folders = [("gateway", "gateway", context.home.routes.parent)]
        jobs = select(JobRow).where(
            JobRow.status.in_(("Running", "PauseRequested", "CancelRequested"))
        )
        folders += [("job", row.name, Path(row.run_dir)) for row in session.scalars(jobs)]
        tasks = select(TaskRow).filter_by(state="running")
        folders += [("task", row.key, Path(row.run_dir)) for row in session.scalars(tasks)]
        registering = select(ModelRow).filter_by(status="Registering")
        for row in session.scalars(registering):
            folders.append(("task", f"register/{row.name}", models.run_dir(context, row)))
        for row in session.scalars(select(ReplicaRow)):
            folders.append(("replica", replicas.label(row), Path(row.run_dir)))
        counts = {
            noun: session.scalar(select(func.count()).select_from(table)) or 0
            for noun, table in _COUNTED.items()
        }
    found = [_process(kind, name, folder) for kind, name, folder in folders]
    processes = [process for process in found if process]
    gateway_up = any(process.kind == "gateway" for process in processes)
    running: dict[str, Any] = read_json(context.home.server_file) or {}
    return Status(
        version=__version__,
        home=str(context.home.root),
        running=address is not None,
        address=address,
        gateway_address=running.get("gateway_url") if gateway_up else None,
        tracking_uri=context.home.tracking_uri,
        processes=processes,
        counts=counts,
    )


def _process(kind: str, name: str, folder: Path) -> Process | None:
    state = workers.inspect(folder)
    if not state.running or state.pid is None:
        return None
    record: dict[str, Any] = read_json(folder / "process.json") or {}
    return Process(
        kind=kind,
        name=name,
        pid=state.pid,
        memory_bytes=workers.memory_bytes(state.pid),
        started_at=datetime.fromtimestamp(record.get("create_time", 0), UTC),
    )
