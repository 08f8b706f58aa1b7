"""Revisions of a deployment: what makes a new one, the one before, and going back to it.

`row.spec`, `row.gate` and `row.revision` are of the newest revision. While it is being rolled out
`row.live` is the older one that goes on serving, and `row.former` holds that one's spec. A revision
that fails is taken back: the older one is the newest again, and `row.former` remembers the number.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from phoundry.errors import Conflict
from phoundry.services.context import Context
from phoundry.services.deployment_rows import note
from phoundry.services.serving_memory import most_slots
from phoundry.specs.deployment import DeploymentSpec
from phoundry.store.tables import DeploymentRow

# A change of these needs other processes.
_OF_THE_PROCESS = ("model", "snapshot", "engine", "quantization", "adapter", "context_length")

# How many replicas are wanted is no part of what a revision serves.
_OF_THE_LOAD = ("instance_count", "scale_settings")
_OPEN = ("passed", "skipped")


def rolling(row: DeploymentRow) -> bool:
    """Whether a newer revision is being rolled out beside the one that serves."""
    return row.live < row.revision


def passed(row: DeploymentRow) -> bool:
    """Whether the newest revision may get live traffic, as the deploy gate says."""
    return row.gate in _OPEN


def trusted(row: DeploymentRow) -> bool:
    """Whether what serves now may get live traffic."""
    gate = (row.former or {})["gate"] if rolling(row) else row.gate
    return gate in _OPEN


def was_open(row: DeploymentRow) -> bool:
    """Whether a revision before the newest one could have live traffic."""
    former = row.former or {}
    return bool(former) and not former.get("failed") and former["gate"] in _OPEN


def spec_of(row: DeploymentRow, revision: int) -> dict[str, Any]:
    """The spec of the newest revision or of the one before it."""
    former = row.former or {}
    return former["spec"] if former.get("revision") == revision else row.spec


def needs_processes(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether replicas of `old` cannot serve `new`. Fewer requests at once need no others."""
    if any(old.get(key) != new.get(key) for key in _OF_THE_PROCESS):
        return True
    return most_slots(new["request_settings"]) > most_slots(old["request_settings"])


def wanted(spec: DeploymentSpec, now: int | None) -> int:
    """How many replicas a deployment shall have, which has `now` (None: it is being made).

    Where the load decides, it stays within the bounds; a new one starts one to prove that it can.
    """
    scale = spec.scale_settings
    if scale is None or scale.type == "default":
        return spec.instance_count
    asked = spec.instance_count if now is None else now
    lowest = max(1, scale.min_instances) if now is None else scale.min_instances
    return min(max(asked, lowest), scale.max_instances)


def begin(
    session: Session, context: Context, row: DeploymentRow, spec: dict[str, Any], gate: str
) -> None:
    """Make `spec` the newest revision. What serves goes on until that one is ready and passed."""
    number = max(row.revision, (row.former or {}).get("revision", 0)) + 1
    if row.state in ("Creating", "Failed"):  # nothing serves that could go on
        row.former, row.live, row.state = None, number, "Creating"
    else:
        if not rolling(row):
            row.former = {"revision": row.revision, "spec": row.spec, "gate": row.gate}
        row.state = "Updating"
    row.revision, row.spec, row.gate, row.error = number, spec, gate, None
    note(session, context, row, "revision", f"Revision {number} is being prepared.")


def take_into_force(session: Session, context: Context, row: DeploymentRow) -> None:
    """Requests go to the newest revision from now on."""
    row.live = row.revision
    note(session, context, row, "in_force", f"Revision {row.revision} answers requests.")


def take_back(
    session: Session, context: Context, row: DeploymentRow, error: dict[str, Any] | None
) -> None:
    """Give the revision up that is being rolled out. `error`: why, or None where it was asked."""
    former = row.former or {}
    given_up, spec, gate = row.revision, row.spec, row.gate
    row.revision, row.spec, row.gate = former["revision"], former["spec"], former["gate"]
    row.former = {"revision": given_up, "spec": spec, "gate": gate, "failed": True}
    if error is None:
        text = f"Revision {given_up} was taken back; revision {row.revision} goes on serving."
    else:
        text = (
            f"Revision {given_up} failed, and revision {row.revision} goes on serving: "
            f"{error['message']}"
        )
        row.error = {**error, "message": text}
    note(session, context, row, "taken_back", text)


def roll_back(session: Session, context: Context, row: DeploymentRow) -> None:
    """Give up the revision that is being rolled out, or go back to the one before.

    Raises:
        Conflict: there is none before.
    """
    former = row.former or {}
    if rolling(row):
        row.error = None
        take_back(session, context, row, None)
    elif former and not former.get("failed"):
        kept = {key: row.spec.get(key) for key in _OF_THE_LOAD}
        begin(session, context, row, {**former["spec"], **kept}, former["gate"])
    else:
        raise Conflict(
            f"'{row.endpoint}/{row.name}' has no revision before {row.revision} to go back to.",
            remedy=f"`phoundry deployment show {row.endpoint}/{row.name}` shows what serves.",
        )
