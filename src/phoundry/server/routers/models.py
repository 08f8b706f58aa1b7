"""/api/models and /api/catalog"""

from __future__ import annotations

from fastapi import APIRouter

from phoundry.server.routers.common import Acting
from phoundry.services import models
from phoundry.specs.model import CatalogModel, Model, ModelSpec

router = APIRouter(tags=["models"])


@router.post("/models", status_code=202)
def register(context: Acting, spec: ModelSpec) -> Model:
    return models.register(context, spec)


@router.get("/models")
def listing(context: Acting) -> list[Model]:
    return models.listing(context)


@router.get("/models/{name}")
def show(context: Acting, name: str, version: str | None = None) -> Model:
    return models.show(context, f"{name}:{version}" if version else name)


@router.get("/catalog")
def catalog(context: Acting) -> list[CatalogModel]:
    return models.catalog(context)
