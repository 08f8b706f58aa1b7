"""Deployments: how many replicas, their state from that of the replicas, deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import PhoundryError
from phoundry.services import parity, replicas, revisions
from phoundry.services.context import Context
from phoundry.services.deployment_rows import note
from phoundry.services.reconcile import replicas as moving
from phoundry.services.reconcile import rollout
from phoundry.services.reconcile.isolation import Move, each
from phoundry.store.tables import DeploymentRow, EndpointRow, ReplicaRow

_SETTLED = ("ready", "unready", "failed")


def tick(context: Context) -> None:
    """Move every deployment and its replicas on by one step, and forget what was deleted."""
    _each_restless(context, rollout.adjust)
    moving.tick(context)
    _each_restless(context, _settle)
    remove_deleted(context)


def _each_restless(context: Context, move: Move[DeploymentRow]) -> None:
    """Where there is something to do or to say, which one look at all rows finds: a transaction
    for each that rests would be most of the cost of a home with many deployments."""
    replicas_of: dict[tuple[str, str], list[ReplicaRow]] = {}
    with context.database.begin() as session:
        for one in session.scalars(select(ReplicaRow).filter_by(workspace=context.workspace)):
            replicas_of.setdefault((one.endpoint, one.deployment), []).append(one)
        rows = select(DeploymentRow).filter_by(workspace=context.workspace)
        found = [
            row.id
            for row in session.scalars(rows.where(DeploymentRow.state != "Deleting"))
            if not _rests(row, replicas_of.get((row.endpoint, row.name), []))
        ]
    if found:
        here = DeploymentRow.id.in_(found), DeploymentRow.state != "Deleting"
        each(context, DeploymentRow, *here, move=move, fail=_stumble)


def _rests(row: DeploymentRow, every: list[ReplicaRow]) -> bool:
    serves = row.state == "Succeeded" and not all(one.state == "failed" for one in every)
    asleep = row.state == "Succeeded" and not every
    return (serves or asleep) and rollout.moves_of(row, every) == rollout.Moves()


def remove_deleted(context: Context) -> None:
    """Remove deployments in deletion whose replicas have ended, then endpoints with none left."""
    each(context, DeploymentRow, DeploymentRow.state == "Deleting", move=_remove, fail=_keep)
    each(context, EndpointRow, EndpointRow.state == "Deleting", move=_forget, fail=_keep)


def stop_all(context: Context) -> None:
    """Ask every replica to end; the deployments stay and come back with the next start."""
    with context.database.begin() as session:
        for replica in session.scalars(select(ReplicaRow).filter_by(workspace=context.workspace)):
            workers.terminate(Path(replica.run_dir))
            if replica.state not in ("failed", "draining"):
                replica.state = "waiting"


def _settle(session: Session, context: Context, row: DeploymentRow) -> None:
    """The deployment's state, from those of its replicas."""
    every = [one for one in replicas.of(session, context, row) if one.state != "draining"]
    if revisions.rolling(row) or not every:
        return
    current = [one for one in every if one.revision == row.live]
    answers = any(one.state in ("ready", "unready") for one in current)
    failed = [one for one in current if one.state == "failed"]
    if len(failed) == len(every):
        _fail(session, context, row, failed[0].error or {})
    elif row.state == "Creating" and answers:
        row.state, row.error = "Succeeded", None
        note(session, context, row, "succeeded", "It answers.")
    elif row.state == "Updating" and len(current) == len(every) >= row.wanted:
        if all(one.state in _SETTLED for one in current):
            row.state = "Succeeded"
            count = len(current) - len(failed)
            words = "1 replica" if count == 1 else f"{count} replicas"
            text = f"Revision {row.live} serves, with {words}."
            note(session, context, row, "updated", text)
    elif row.state == "Failed" and answers:
        row.state, row.error = "Succeeded", None


def _remove(session: Session, context: Context, row: DeploymentRow) -> None:
    for replica in replicas.of(session, context, row):
        if replica.state != "draining":
            rollout.drain(session, context, replica)
        moving.drain(session, context, row, replica)
    if not replicas.of(session, context, row):
        parity.forget(context, row)
        session.delete(row)
        note(session, context, row, "deleted", "Deleted.")


def _forget(session: Session, context: Context, row: EndpointRow) -> None:
    """Remove an endpoint in deletion once none of its deployments is left."""
    left = select(DeploymentRow).filter_by(workspace=context.workspace, endpoint=row.name)
    if session.scalars(left).first() is None:
        session.delete(row)


def _keep(session: Session, context: Context, row: Any, error: PhoundryError) -> None:
    """Its deletion could not be ended; the log says why, and the next tick tries again."""


def _stumble(session: Session, context: Context, row: DeploymentRow, error: PhoundryError) -> None:
    """A fault of our own with this row: what serves goes on serving, and says so."""
    if row.state == "Creating":
        _fail(session, context, row, error.to_dict())
    else:
        row.error = error.to_dict()


def _fail(session: Session, context: Context, row: DeploymentRow, error: dict[str, Any]) -> None:
    if row.state == "Failed":
        return
    row.state, row.error = "Failed", error
    note(session, context, row, "failed", str(error.get("message", "")))
