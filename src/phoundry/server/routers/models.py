"""/api/models and /api/catalog"""

from __future__ import annotations

from fastapi import APIRouter

from phoundry.server.routers.common import Acting
from phoundry.services import catalog, engine_choice, model_files, models
from phoundry.specs.catalog import CatalogModel
from phoundry.specs.engine_speeds import EngineSpeeds
from phoundry.specs.model import Model, ModelFiles, ModelSpec
from phoundry.specs.quantization import Quantization

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


@router.post("/model-files")
def files(context: Acting, model: str, quantization: Quantization | None = None) -> ModelFiles:
    """Where a model's files are on this machine. What is missing is made: ask until it is there."""
    return model_files.files(context, model, quantization)


@router.post("/engine-speeds")
def speeds(
    context: Acting, model: str, quantization: Quantization | None = None, again: bool = False
) -> EngineSpeeds:
    """How fast engines serve a model here. What is not known is measured: ask until it is there."""
    return engine_choice.measure(context, model, quantization, again=again)


@router.get("/catalog")
def listing_bases(context: Acting, search: str | None = None) -> list[CatalogModel]:
    return catalog.listing(context, search)


@router.get("/catalog/entry")
def show_base(
    context: Acting,
    name: str,
    max_seq_length: int | None = None,
    context_length: int | None = None,
) -> CatalogModel:
    """`name`: of the catalog, of a hub, a folder or a GGUF file of the control plane's machine."""
    return catalog.show(context, name, max_seq_length=max_seq_length, context_length=context_length)
