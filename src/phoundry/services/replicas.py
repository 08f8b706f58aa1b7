"""The replicas of a deployment: rows, and the folders of their processes.

What moves them on is `reconcile/replicas.py`; how many there shall be, `reconcile/rollout.py`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.files import read_json
from phoundry.services.context import Context, record
from phoundry.services.deployment_rows import resource
from phoundry.specs.deployment import ReplicaView
from phoundry.store.tables import DeploymentRow, ReplicaRow
from phoundry.store.vault import new_secret

PROCESS = ("starting", "ready", "unready")  # states in which it has a process


def of(session: Session, context: Context, row: DeploymentRow) -> list[ReplicaRow]:
    """All replicas of a deployment, by number; those that are draining too."""
    query = select(ReplicaRow).filter_by(
        workspace=context.workspace, endpoint=row.endpoint, deployment=row.name
    )
    return list(session.scalars(query.order_by(ReplicaRow.number)))


def deployment(session: Session, context: Context, replica: ReplicaRow) -> DeploymentRow | None:
    """The deployment that a replica belongs to."""
    query = select(DeploymentRow).filter_by(
        workspace=context.workspace, endpoint=replica.endpoint, name=replica.deployment
    )
    return session.scalars(query).first()


def ready(session: Session, context: Context, row: DeploymentRow) -> list[ReplicaRow]:
    """Those of the newest revision that answer; the deploy gate asks the first of them."""
    every = of(session, context, row)
    return [each for each in every if each.state == "ready" and each.revision == row.revision]


def routed(session: Session, context: Context, row: DeploymentRow) -> list[ReplicaRow]:
    """Those that get requests: of the revision in force, and of older ones until they drain."""
    every = of(session, context, row)
    return [each for each in every if each.state == "ready" and each.revision <= row.live]


def add(session: Session, context: Context, row: DeploymentRow, revision: int) -> ReplicaRow:
    """One more replica, which waits for its start. Numbers of those that are gone come again."""
    taken = {each.number for each in of(session, context, row)}
    number = next(n for n in range(len(taken) + 1) if n not in taken)
    made = ReplicaRow(
        workspace=context.workspace,
        endpoint=row.endpoint,
        deployment=row.name,
        number=number,
        revision=revision,
        run_dir=str(_folder(context, row, number)),
        token=context.vault.encrypt(new_secret()),
    )
    session.add(made)
    session.flush()
    return made


def forget(session: Session, replica: ReplicaRow) -> None:
    """Remove a replica whose process has ended, with its folder."""
    shutil.rmtree(replica.run_dir, ignore_errors=True)
    session.delete(replica)


def label(replica: ReplicaRow) -> str:
    """`faq/blue`, or `faq/blue/1` of one that is not the first."""
    name = f"{replica.endpoint}/{replica.deployment}"
    return f"{name}/{replica.number}" if replica.number else name


def note(session: Session, context: Context, replica: ReplicaRow, kind: str, text: str) -> None:
    """An event in the history of the replica's deployment."""
    about = resource(replica.endpoint, replica.deployment)
    record(session, context, about, kind, text, replica=replica.number)


def view(replica: ReplicaRow) -> ReplicaView:
    worker = workers.inspect(Path(replica.run_dir))
    pid = worker.pid if worker.running else None
    told: dict[str, Any] = worker.ready or {}
    return ReplicaView(
        number=replica.number,
        revision=replica.revision,
        state=replica.state,  # type: ignore[arg-type] - the store's text
        pid=pid,
        port=told.get("port") if pid else None,
        memory_bytes=workers.memory_bytes(pid, family=bool(told.get("family"))) if pid else None,
        shared_pid=told.get("pool_pid") if pid else None,
        restarts=replica.restarts,
        error=replica.error,
    )


def log_path(replica: ReplicaRow) -> Path:
    """The log that tells of it: its own, or that of the process which it shares while it serves.

    Why a member failed stands in its own.
    """
    folder = Path(replica.run_dir)
    told: dict[str, Any] = read_json(folder / "spec.json") or {}
    if "pool_dir" in told and replica.state != "failed":
        shared = Path(told["pool_dir"]) / "log.txt"
        if shared.exists():
            return shared
    return folder / "log.txt"


def _folder(context: Context, row: DeploymentRow, number: int) -> Path:
    # The first has the folder that a deployment's only replica had before there were several.
    names = (row.endpoint, row.name, str(number)) if number else (row.endpoint, row.name)
    return context.home.run("replica", *names)
