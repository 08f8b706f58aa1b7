"""One noun a file."""

from __future__ import annotations

from fastapi import APIRouter

from phoundry.server.routers import (
    apply,
    care,
    collected,
    connections,
    data,
    deployments,
    endpoints,
    flows,
    jobs,
    journeys,
    models,
    status,
)

ROUTERS: tuple[APIRouter, ...] = (
    data.router,
    jobs.router,
    models.router,
    endpoints.router,
    deployments.router,
    collected.router,
    connections.router,
    flows.router,
    journeys.router,
    apply.router,
    care.router,
    status.router,
)
