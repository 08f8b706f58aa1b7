"""How many replicas of which revision: from what there is and what is wanted to the next moves.

    prove      one replica of the newest revision starts beside those that serve
    in force   it is ready and has passed the gate: requests go to it as well
    replace    for each that is ready one of the older ones drains, until none is left
    take back  it failed: its replicas drain, the older revision goes on

`plan` is a pure function; `adjust` reads rows, asks it and acts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import InsufficientResources
from phoundry.services import parity, replicas, revisions
from phoundry.services.context import Context, now
from phoundry.services.reconcile import launch
from phoundry.store.tables import DeploymentRow, ReplicaRow


@dataclass(frozen=True, slots=True)
class Member:
    """A replica that is not draining."""

    number: int
    revision: int
    state: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What a deployment shall be.

    `keep`: replicas of the older revision while the newest is proven, where that is another number
    than is wanted of the newest. `yielded`: how many of these ended early, because both did not
    fit into memory. `proven`: the newest revision has served, and its gate waits for no replica.
    """

    revision: int
    live: int
    wanted: int
    gate: str = "skipped"
    keep: int | None = None
    yielded: int = 0
    proven: bool = True


@dataclass(frozen=True, slots=True)
class Moves:
    """`start`: revisions, one for each replica to be added. `drain`: numbers of replicas."""

    start: list[int] = field(default_factory=list[int])
    drain: list[int] = field(default_factory=list[int])
    take_into_force: bool = False
    take_back: bool = False


def plan(members: list[Member], wish: Wish) -> Moves:
    """The next moves; none once everything is as it shall be."""
    return _prove(members, wish) if wish.live < wish.revision else _replace(members, wish)


def _prove(members: list[Member], wish: Wish) -> Moves:
    """One replica of the newest revision, beside those of the one that serves."""
    newest = [each for each in members if each.revision == wish.revision]
    if wish.gate == "failed" or any(each.state == "failed" for each in newest):
        return Moves(take_back=True)
    answers = any(each.state == "ready" for each in newest)
    if answers and wish.gate in ("passed", "skipped"):
        return Moves(take_into_force=True)
    # A change may come while an older revision than the live one still serves: it goes on too.
    serving = [each for each in members if each.revision == wish.live or _older(each, wish)]
    strangers = [each for each in members if each not in (*newest, *serving)]
    keep = wish.wanted if wish.keep is None else wish.keep
    missing = keep - wish.yielded - len(serving)
    return Moves(
        start=[*([] if newest else [wish.revision]), *[wish.live] * missing],
        # Those that gave way are gone already: they count for no end of another.
        drain=_numbers([*strangers, *_least(serving, len(serving) - keep)]),
    )


def _replace(members: list[Member], wish: Wish) -> Moves:
    """As many as are wanted of the revision in force; older ones drain as these become ready."""
    wanted = wish.wanted if wish.proven else max(1, wish.wanted)
    current = [each for each in members if each.revision == wish.live]
    others = [each for each in members if each.revision != wish.live]
    older = [each for each in others if _older(each, wish)]
    missing = wanted - len(current)
    # One more than wanted at a time, while older ones serve; what failed takes no room.
    standing = sum(each.state != "failed" for each in current) + len(older)
    room = wanted + 1 - standing if older else missing
    answering = sum(each.state == "ready" for each in current)
    settled = missing <= 0 and all(each.state in ("ready", "unready", "failed") for each in current)
    too_many = len(older) if settled else answering + len(older) - wanted
    return Moves(
        start=[wish.live] * min(missing, room),
        drain=_numbers(
            [
                *(each for each in others if each not in older),
                *_least(older, too_many),
                *_least(current, -missing),
            ]
        ),
    )


def _older(member: Member, wish: Wish) -> bool:
    """Whether it serves, of a revision before the live one."""
    return member.revision < wish.live and member.state == "ready"


def _least(members: list[Member], count: int) -> list[Member]:
    """The `count` that are missed least: what does not answer first, then the newest."""
    if count <= 0:
        return []
    order = sorted(members, key=lambda each: (each.state == "ready", -each.number))
    return order[:count]


def _numbers(members: list[Member]) -> list[int]:
    return [each.number for each in members]


def moves_of(row: DeploymentRow, every: Iterable[ReplicaRow]) -> Moves:
    """`plan` of a deployment and all its replicas."""
    staying = (each for each in every if each.state != "draining")
    return plan([Member(each.number, each.revision, each.state) for each in staying], _wish(row))


def adjust(session: Session, context: Context, row: DeploymentRow) -> None:
    """Make the next moves towards what a deployment shall be."""
    rows = {each.number: each for each in replicas.of(session, context, row)}
    moves = moves_of(row, rows.values())
    if moves.take_back:
        revisions.take_back(session, context, row, _reason(row, list(rows.values())))
        parity.ask_anew(context, row)
    if moves.take_into_force:
        revisions.take_into_force(session, context, row)
        parity.open_first(session, context, row)
    for number in moves.drain:
        drain(session, context, rows[number])
    if row.state != "Failed":
        for revision in moves.start:
            replicas.add(session, context, row, revision)


def make_room(session: Session, context: Context, row: DeploymentRow, replica: ReplicaRow) -> bool:
    """For a replica that does not fit beside an older revision, end one of that. False: no use.

    An older one ends only where the new one then fits: otherwise the new revision fails instead.
    """
    every = replicas.of(session, context, row)
    if any(each.state == "draining" for each in every):
        return True  # memory is about to be free
    older = [
        each
        for each in every
        if each.revision < replica.revision and each.state in replicas.PROCESS
    ]
    if not older:
        return False
    freed = sum(_private_bytes(each) for each in older)
    lacks_memory = not _fits(session, context, row, replica, freed=0)  # or else the disk is full
    if not lacks_memory or not _fits(session, context, row, replica, freed=freed):
        return False
    gone = max(older, key=lambda each: each.number)
    text = (
        f"Revisions {gone.revision} and {replica.revision} do not fit into memory together: "
        f"replica {gone.number} ends before replica {replica.number} starts."
    )
    if revisions.rolling(row):
        former = row.former or {}
        row.former = {**former, "yielded": former.get("yielded", 0) + 1}
    row.notices = [*row.notices, text]
    drain(session, context, gone, text)
    return True


def _fits(
    session: Session, context: Context, row: DeploymentRow, replica: ReplicaRow, *, freed: int
) -> bool:
    """Whether the replica would fit into memory with `freed` more bytes of it."""
    try:
        launch.worker_spec(session, context, row, replica, freed=freed)
    except (InsufficientResources, OSError):  # also where the disk is too full to look
        return False
    return True


def _wish(row: DeploymentRow) -> Wish:
    former = row.former if row.former and revisions.rolling(row) else {}
    before: dict[str, Any] = former.get("spec", {})
    scale: dict[str, Any] = before.get("scale_settings") or {}
    return Wish(
        revision=row.revision,
        live=row.live,
        wanted=row.wanted,
        gate=row.gate,
        keep=None if scale.get("type") == "target_utilization" else before.get("instance_count"),
        yielded=former.get("yielded", 0),
        proven=row.state != "Creating" and row.gate != "pending",
    )


def _reason(row: DeploymentRow, every: list[ReplicaRow]) -> dict[str, object]:
    """Why the newest revision failed."""
    for each in every:
        if each.revision == row.revision and each.state == "failed" and each.error:
            return each.error
    if error := (row.parity or {}).get("error"):
        return error  # nothing was compared
    name = f"{row.endpoint}/{row.name}"
    return {
        "code": "ParityError",
        "message": "It does not answer as the trained model does.",
        "remedy": f"`phoundry deployment show {name} --parity` shows where they part.",
    }


def drain(
    session: Session, context: Context, replica: ReplicaRow, reason: str | None = None
) -> None:
    """Give a replica nothing new. It ends what it has, and is then ended and forgotten."""
    # Nothing is tried again: from here on `retry_at` is when its process was told to end.
    replica.state, replica.stopping_since, replica.retry_at = "draining", now(), None
    text = reason or f"Replica {replica.number} of revision {replica.revision} gets nothing new."
    replicas.note(session, context, replica, "draining", text)


def _private_bytes(replica: ReplicaRow) -> int:
    found = replicas.view(replica)
    return (workers.private_bytes(found.pid) if found.pid else None) or 0
