"""How many replicas a deployment shall have now: its `wanted`, by what there is to do.

Up at once, as far as the load asks; down one at a time, each after a whole idle time with less to
do. So a load that comes and goes faster than the idle time never ends a replica.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.errors import PhoundryError
from phoundry.files import read_json
from phoundry.services import serving_memory
from phoundry.services.context import Context
from phoundry.services.deployment_rows import note
from phoundry.services.reconcile import load as reports
from phoundry.services.reconcile.isolation import each
from phoundry.services.reconcile.load import Load
from phoundry.specs.scaling import ScaleSettings
from phoundry.store.tables import DeploymentRow, ReplicaRow

SCALED = ("Succeeded", "Updating")  # deployments that serve; what is being made has one replica


def needed(settings: ScaleSettings, load: Load, slots: int) -> int:
    """Replicas at which the requests in flight are the target's share of all slots, or fewer.

    ceil(in_flight / (slots * target)), within the bounds.

    Args:
        slots: conversations that one replica decodes together.
    """
    asked = -(-100 * load.in_flight // (slots * settings.target_utilization_percentage))
    return min(max(asked, settings.min_instances), settings.max_instances)


def decide(
    settings: ScaleSettings,
    wanted: int,
    load: Load,
    slots: int,
    ready: int,
    now: float,
    since: float | None,
) -> int:
    """How many replicas there shall be, from `wanted` of which `ready` are ready.

    `since`: from when on fewer would have been enough; None: that is not so. Seconds, as `now`.
    The last replica goes only an idle time after the last request, however short that was.
    """
    target = needed(settings, load, slots)
    if target >= wanted:
        return target
    if wanted > settings.max_instances:
        return settings.max_instances
    if since is None or (load.in_flight and ready < wanted):
        return wanted  # what was asked for is still coming, and somebody waits for it
    quiet = since if wanted > 1 else max(since, load.last_request)
    return wanted - 1 if now - quiet >= settings.idle_time_before_scale_down else wanted


def quiet_since(
    settings: ScaleSettings, wanted: int, load: Load, slots: int, now: float, since: float | None
) -> float | None:
    """From when on fewer than `wanted` would have been enough, told `since` of the last look."""
    if needed(settings, load, slots) >= wanted:
        return None
    # A clock that was set back must not make the wait longer than it is.
    return now if since is None else min(since, now)


@dataclass(slots=True)
class _Look:
    """What the last look at a deployment left."""

    at: float
    wanted: int
    since: float | None


@dataclass(frozen=True, slots=True)
class _Change:
    wanted: int
    reason: str


class Scaler:
    """Writes `wanted` of every deployment. One for each control plane: it remembers idle times.

    `asleep`: the deployments that have no replica because nobody asks them, as of the last tick.
    `awaited`: files that appear when a replica is ready for which requests wait.
    `follows`: whether any deployment follows its load, which asks for a tick every second.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._looks: dict[int, _Look] = {}
        self.asleep: frozenset[str] = frozenset()
        self.awaited: list[Path] = []
        self.follows = False

    def called(self, context: Context) -> bool:
        """Whether a request waits for a deployment that sleeps."""
        return bool(self.asleep and self.asleep & reports.read(context, now=self._clock()).wanted)

    def tick(self, context: Context) -> None:
        """Look at every deployment that serves, and write what has changed."""
        with context.database.begin() as session:
            changes = self._changes(session, context)

        def move(session: Session, context: Context, row: DeploymentRow) -> None:
            _apply(session, context, row, changes[row.id])

        where = DeploymentRow.id.in_(changes), DeploymentRow.state.in_(SCALED)
        if changes:
            each(context, DeploymentRow, *where, move=move, fail=_keep)

    def _changes(self, session: Session, context: Context) -> dict[int, _Change]:
        self.awaited, self.follows = [], False
        query = select(DeploymentRow).filter_by(workspace=context.workspace)
        rows = session.scalars(query.where(DeploymentRow.state.in_(SCALED))).all()
        report = reports.read(context, now=self._clock())
        self._looks = {row.id: look for row in rows if (look := self._looks.get(row.id))}
        changes = {row.id: self._look(session, row, report.of(_name(row))) for row in rows}
        found = {key: change for key, change in changes.items() if change}
        counts = {row: found[row.id].wanted if row.id in found else row.wanted for row in rows}
        self.asleep = frozenset(_name(row) for row, count in counts.items() if count == 0)
        return found

    def _look(self, session: Session, row: DeploymentRow, load: Load) -> _Change | None:
        """What is to change of one deployment, if anything."""
        settings = ScaleSettings.model_validate(row.spec.get("scale_settings") or {})
        if settings.type == "default":
            count = int(row.spec.get("instance_count") or 1)
            return _Change(count, "as instance_count says") if count != row.wanted else None
        self.follows = True
        if row.gate == "pending" or row.state == "Updating":
            # The gate asks a replica that nobody else asks, and an update has to show that it runs.
            settings = settings.model_copy(update={"min_instances": max(1, settings.min_instances)})
        now = self._clock()
        last = self._looks.get(row.id) or _Look(0.0, row.wanted, None)
        urgent = load.waiting or (load.in_flight and not row.wanted)
        if not urgent and 0 <= now - last.at < settings.polling_interval:
            return None
        before = last.since if last.wanted == row.wanted else None
        ready, starting = _replicas(session, row)
        slots = _slots(row, [*ready, *starting])
        since = quiet_since(settings, row.wanted, load, slots, now, before)
        if load.in_flight and not ready:
            self.awaited += [Path(replica.run_dir) / "ready.json" for replica in starting]
        wanted = decide(settings, row.wanted, load, slots, len(ready), now, since)
        self._looks[row.id] = _Look(now, row.wanted, since)
        return None if wanted == row.wanted else _Change(wanted, _reason(row, wanted, load, now))


def _apply(session: Session, context: Context, row: DeploymentRow, change: _Change) -> None:
    before, row.wanted = row.wanted, change.wanted
    text = f"From {before} to {change.wanted} {'replica' if change.wanted == 1 else 'replicas'}: "
    facts: dict[str, Any] = {"before": before, "after": change.wanted}
    note(session, context, row, "scaled", f"{text}{change.reason}.", **facts)


def _keep(session: Session, context: Context, row: DeploymentRow, error: PhoundryError) -> None:
    """Nothing was written; the next tick looks anew."""


def _reason(row: DeploymentRow, wanted: int, load: Load, now: float) -> str:
    if wanted > row.wanted == 0:
        return "a request came" if load.in_flight else "it has to show that it answers"
    if wanted > row.wanted:
        return f"{load.running} requests run and {load.waiting} wait"
    if wanted == 0:
        idle = f"{now - load.last_request:.0f} s" if load.last_request else "a while"
        return f"no request for {idle}; the next one wakes it"
    return f"{load.in_flight} requests in flight need no more"


def _slots(row: DeploymentRow, every: list[ReplicaRow]) -> int:
    """Conversations that one replica decodes together, as the first one was told."""
    if row.spec["engine"] == "transformers":
        return 1
    for replica in every:
        told: dict[str, Any] = read_json(Path(replica.run_dir) / "spec.json") or {}
        if "slots" in told:
            return int(told["slots"])
    most = serving_memory.most_slots(row.spec["request_settings"])
    return min(most, serving_memory.FEWEST)


def _replicas(session: Session, row: DeploymentRow) -> tuple[list[ReplicaRow], list[ReplicaRow]]:
    """Those that are ready, and those that start."""
    query = select(ReplicaRow).filter_by(
        workspace=row.workspace, endpoint=row.endpoint, deployment=row.name
    )
    every = session.scalars(query.where(ReplicaRow.state.in_(("ready", "starting")))).all()
    starting = [replica for replica in every if replica.state == "starting"]
    return [replica for replica in every if replica.state == "ready"], starting


def _name(row: DeploymentRow) -> str:
    return f"{row.endpoint}/{row.name}"
