"""What probes find: a replica that hangs is started again, one that cannot answer gets no requests.

A replica is probed from the moment that it said it was ready; its start ends by itself, one way or
the other.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.errors import PhoundryError
from phoundry.files import read_json
from phoundry.services.context import Context
from phoundry.services.reconcile import replicas
from phoundry.services.reconcile.isolation import each
from phoundry.services.reconcile.prober import Prober
from phoundry.services.reconcile.probing import Target, Verdict
from phoundry.services.replicas import note
from phoundry.specs.probe import Probe
from phoundry.store.tables import DeploymentRow, ReplicaRow

PROBED = ("ready", "unready")


def tick(context: Context, prober: Prober) -> None:
    """Tell the prober what runs, and act on what it knows."""
    with context.database.begin() as session:
        found = _targets(session, context, prober)
    known = prober.watch({key: target for key, (_, target) in found.items()})
    verdicts = {
        row: known[key] for key, (row, target) in found.items() if _matters(target, known[key])
    }

    def move(session: Session, context: Context, row: ReplicaRow) -> None:
        _act(session, context, row, verdicts[row.id])

    if verdicts:
        where = ReplicaRow.id.in_(verdicts), ReplicaRow.state.in_(PROBED)
        each(context, ReplicaRow, *where, move=move, fail=_keep)


def _matters(target: Target, verdict: Verdict) -> bool:
    """Whether a verdict is another than what its row says."""
    return not verdict.live or verdict.ready != target.rotated


def _targets(session: Session, context: Context, prober: Prober) -> dict[str, tuple[int, Target]]:
    """What is to be probed: of each process its row and how to ask it."""
    mine = ReplicaRow.workspace == context.workspace
    query = select(ReplicaRow, DeploymentRow.spec).where(mine)
    query = query.join(
        DeploymentRow,
        (DeploymentRow.workspace == ReplicaRow.workspace)
        & (DeploymentRow.endpoint == ReplicaRow.endpoint)
        & (DeploymentRow.name == ReplicaRow.deployment),
    )
    found: dict[str, tuple[int, Target]] = {}
    for row, spec in session.execute(query.where(ReplicaRow.state.in_(PROBED))):
        ready: dict[str, Any] = read_json(Path(row.run_dir) / "ready.json") or {}
        process: dict[str, Any] = read_json(Path(row.run_dir) / "process.json") or {}
        if "port" not in ready:
            continue  # it is being started again this moment
        created = float(process.get("create_time", 0.0))
        age = max(0.0, time.time() - created) if created else 0.0
        found[f"{row.id}/{process.get('pid')}/{created}"] = (
            row.id,
            Target(
                int(ready["port"]),
                Probe.model_validate(spec.get("liveness_probe") or {}),
                Probe.model_validate(spec.get("readiness_probe") or {}),
                started=prober.clock() - age,
                rotated=row.state == "ready",
            ),
        )
    return found


def _act(session: Session, context: Context, row: ReplicaRow, verdict: Verdict) -> None:
    if not verdict.live:
        times = verdict.live_failures
        reason = f"The liveness probe failed {times} {'time' if times == 1 else 'times'} in a row."
        replicas.restart(session, context, row, reason)
    elif not verdict.ready and row.state == "ready":
        row.state = "unready"
        times = verdict.ready_failures
        count = f"{times} {'time' if times == 1 else 'times'} in a row"
        text = f"The readiness probe of replica {row.number} failed {count}: no requests go there."
        note(session, context, row, "unready", text)
    elif verdict.ready and row.state == "unready":
        row.state = "ready"
        text = f"The readiness probe of replica {row.number} succeeds: requests go there again."
        note(session, context, row, "ready", text)


def _keep(session: Session, context: Context, row: ReplicaRow, error: PhoundryError) -> None:
    """Nothing was written; the next tick looks again."""
