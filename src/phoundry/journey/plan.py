"""The plan: what `apply` would make, change or leave, found out without changing anything."""

from __future__ import annotations

from collections.abc import Callable

from phoundry.journey.plan_documents import (
    plan_batch,
    plan_connection,
    plan_data,
    plan_deployment,
    plan_endpoint,
    plan_job,
    plan_model,
)
from phoundry.journey.plan_project import plan_project
from phoundry.journey.planning import Planned
from phoundry.services.context import Context, authorize
from phoundry.specs.plan import Declared, Kind, Plan, PlanRequest

PLANNERS: dict[Kind, Callable[[Context, Declared, Planned], None]] = {
    "project": plan_project,
    "data": plan_data,
    "job": plan_job,
    "batch": plan_batch,
    "model": plan_model,
    "endpoint": plan_endpoint,
    "deployment": plan_deployment,
    "connection": plan_connection,
}


def plan(context: Context, request: PlanRequest) -> Plan:
    """What the documents, in this order, would do.

    Raises:
        Forbidden: the principal may not ask.
        InvalidInput: what cannot be done, all of it together.
        NotFound: a document refers to what neither is there nor is declared before it.
        Conflict: a project is under way with other settings.
    """
    authorize(context.principal, "apply/read", context.workspace)
    planned = Planned()
    for declared in request.documents:
        PLANNERS[declared.kind](context, declared, planned)
    planned.check()
    return Plan(items=planned.items, notes=planned.notes)
