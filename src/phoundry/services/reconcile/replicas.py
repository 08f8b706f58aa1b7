"""One replica: start, watch, start again with back-off, drain.

waiting ─► starting ─► ready ⇄ unready (its readiness probe)
   ▲           └──┬──────┘
   └── crashed ◄──┘ ended, or was ended because it hung ─► failed, after too many in a row
any of these ─► draining ─► gone

One that is not ready in time hangs, too (`starting.py`).
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import InsufficientResources, PhoundryError
from phoundry.services import (
    defaults,
    flow_deployments,
    flow_traces,
    replicas,
    revisions,
    routing,
)
from phoundry.services.context import Context, now
from phoundry.services.reconcile import launch, rollout, starting
from phoundry.services.reconcile.isolation import each
from phoundry.store.tables import DeploymentRow, ReplicaRow

log = logging.getLogger("phoundry.reconcile")

MAX_FAILURES = 5  # in a row
STEADY_SECONDS = 60.0  # a replica that served for so long ends a row of failures
HANGING = timedelta(seconds=10)  # that a process which hangs has to end by itself
UNROUTED = timedelta(seconds=10)  # that a gateway has to take a draining replica out
GRACE = timedelta(seconds=15)  # beyond what a replica leaves its requests


def tick(context: Context) -> None:
    """Move every replica on by one step."""
    each(context, ReplicaRow, ReplicaRow.state != "failed", move=_step, fail=_stumble)


def restart(session: Session, context: Context, replica: ReplicaRow, reason: str) -> None:
    """End a replica that hangs, and start it again as one that crashed.

    Args:
        reason: a whole sentence, such as `It did not answer its liveness probe 30 times.`
    """
    row = replicas.deployment(session, context, replica)
    if row is None or replica.state not in replicas.PROCESS:
        return
    log.warning("replica %s hangs: %s", replicas.label(replica), reason)
    replica.stopping_since = now()
    workers.terminate(Path(replica.run_dir))
    error = {
        "code": "WorkerFailed",
        "message": reason,
        "remedy": f"See `phoundry deployment logs {replicas.label(replica)}`.",
    }
    if not _crashed(session, context, replica, error):
        workers.kill(Path(replica.run_dir))  # nobody looks after it any more


def _step(session: Session, context: Context, replica: ReplicaRow) -> None:
    row = replicas.deployment(session, context, replica)
    if row is None or row.state == "Deleting":
        return  # it is removed with its deployment
    if replica.state == "waiting":
        _start(session, context, row, replica)
    elif replica.state in replicas.PROCESS:
        _watch(session, context, row, replica)
    elif replica.state == "crashed":
        _wait(replica)
    elif replica.state == "draining":
        drain(session, context, row, replica)


def _start(session: Session, context: Context, row: DeploymentRow, replica: ReplicaRow) -> None:
    if workers.inspect(Path(replica.run_dir)).running:
        # A start was cut off before its row said so. What it takes of the memory is its own.
        replica.state, replica.retry_at, replica.stopping_since = "starting", None, None
        return
    spec = launch.worker_spec(session, context, row, replica)
    if spec is None:
        return
    private = launch.private(session, context, row, replica)
    pid = workers.start(Path(replica.run_dir), launch.module(spec), spec, private=private)
    replica.state, replica.retry_at, replica.stopping_since = "starting", None, None
    text = f"Replica {replica.number} of revision {replica.revision} in process {pid}."
    replicas.note(session, context, replica, "starting", text)


def _watch(session: Session, context: Context, row: DeploymentRow, replica: ReplicaRow) -> None:
    run_dir = Path(replica.run_dir)
    state = workers.inspect(run_dir)
    if state.running:
        # A change may have been cut off between the row and the replica.
        defaults.deliver(row, replica)
        if state.ready and replica.state == "starting":
            replica.state, replica.error = "ready", None
            text = f"Replica {replica.number} answers."
            replicas.note(session, context, replica, "ready", text)
        elif replica.state == "starting":
            if reason := starting.overdue(row, replica):
                restart(session, context, replica, reason)
        elif replica.failures and _steady(run_dir):
            replica.failures = 0
        elif replica.state == "ready":
            flow_deployments.renew(session, context, row, replica)
        return
    replica.restarts += 1
    error = (state.result or {}).get("error") or {
        "code": "WorkerFailed",
        "message": f"The replica's process {state.pid or ''} ended without a word.",
        "remedy": f"See `phoundry deployment logs {replicas.label(replica)}`.",
    }
    _crashed(session, context, replica, error)


def _steady(run_dir: Path) -> bool:
    """Whether the replica has been ready for so long that its next end is the first of a row."""
    try:
        ready = (run_dir / "ready.json").stat().st_mtime
    except FileNotFoundError:
        return False
    return time.time() - ready > STEADY_SECONDS


def _crashed(
    session: Session, context: Context, replica: ReplicaRow, error: dict[str, Any]
) -> bool:
    """Start the replica once more, later each time. False: it failed too often and is given up."""
    replica.failures += 1
    if replica.failures >= MAX_FAILURES:
        _fail(session, context, replica, error)
        return False
    delay = 0 if replica.failures == 1 else 2 ** (replica.failures - 1)
    replica.state, replica.error = "crashed", error
    replica.retry_at = now() + timedelta(seconds=delay)
    text = f"{error['message']} Starting again in {delay} s."
    replicas.note(session, context, replica, "crashed", text)
    return True


def _wait(replica: ReplicaRow) -> None:
    """Until its time has come, and the process of before has ended."""
    run_dir = Path(replica.run_dir)
    if workers.inspect(run_dir).running:
        if replica.stopping_since is None:
            replica.state = "starting"  # nobody told it to end: it is looked at as any other
        elif now() - replica.stopping_since > HANGING:
            workers.kill(run_dir)
    elif replica.retry_at is None or now() >= replica.retry_at:
        replica.state = "waiting"


def drain(session: Session, context: Context, row: DeploymentRow, replica: ReplicaRow) -> None:
    """End a replica once the gateway sends it nothing and it has answered what it has."""
    run_dir = Path(replica.run_dir)
    state = workers.inspect(run_dir)
    since = now() - (replica.stopping_since or now())
    if not state.running:
        flow_traces.take_in(context.home, run_dir)  # what it told last goes with its folder
        replicas.forget(session, replica)
        text = f"Replica {replica.number} of revision {replica.revision} has ended."
        replicas.note(session, context, replica, "drained", text)
        return
    told: dict[str, Any] = state.ready or {}
    if "port" in told and since < UNROUTED and not routing.left(context, told["port"]):
        return  # the gateway may still send it something
    # Its time counts from when it was told, for the control plane may have been away meanwhile.
    told_at = replica.retry_at = replica.retry_at or now()
    spec = revisions.spec_of(row, replica.revision)
    if now() - told_at > timedelta(seconds=launch.grace_seconds(spec)) + GRACE:
        workers.kill(run_dir)
    else:
        workers.terminate(run_dir)


def _stumble(session: Session, context: Context, replica: ReplicaRow, error: PhoundryError) -> None:
    """What cannot be started has failed; what has served before is tried again for a while."""
    row = replicas.deployment(session, context, replica)
    if row is None or row.state == "Deleting" or replica.state == "draining":
        return
    if _may_run(replica):
        return  # the fault is ours, and the next tick looks again: what serves goes on serving
    if isinstance(error, InsufficientResources) and rollout.make_room(
        session, context, row, replica
    ):
        return
    if replica.revision <= row.live and row.state != "Creating":
        _crashed(session, context, replica, error.to_dict())
    else:
        _fail(session, context, replica, error.to_dict())


def _may_run(replica: ReplicaRow) -> bool:
    """Whether its process runs; where that cannot be seen just now, what the row says."""
    try:
        return workers.inspect(Path(replica.run_dir)).running
    except OSError:
        return replica.state in replicas.PROCESS


def _fail(session: Session, context: Context, replica: ReplicaRow, error: dict[str, Any]) -> None:
    replica.state, replica.error = "failed", error
    text = f"Replica {replica.number} is given up: {error['message']}"
    replicas.note(session, context, replica, "given_up", text)
