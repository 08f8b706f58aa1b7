"""/api/apply: the plan of documents, making what one declares, and writing them out again."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from phoundry.journey import ensure as making
from phoundry.journey.export import export
from phoundry.journey.plan import plan
from phoundry.server.routers.common import Acting
from phoundry.specs.plan import Declared, Kind, Outcome, Plan, PlanRequest

router = APIRouter(prefix="/apply", tags=["apply"])


@router.post("/plan")
def make_plan(context: Acting, request: PlanRequest) -> Plan:
    return plan(context, request)


@router.post("/documents")
def ensure(context: Acting, declared: Declared, again: bool = False) -> Outcome:
    return making.ensure(context, declared, again=again)


@router.post("/traffic")
def share(context: Acting, declared: Declared) -> Outcome:
    return making.share(context, declared.spec)


@router.get("/documents/{name:path}")
def get(context: Acting, name: str, kind: Kind | None = None) -> list[dict[str, Any]]:
    return export(context, name, kind)
