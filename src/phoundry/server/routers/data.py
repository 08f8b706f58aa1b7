"""/api/data"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import ValidationError

from phoundry.errors import Fault, InvalidInput
from phoundry.server.routers.common import Acting
from phoundry.services import data
from phoundry.specs.data import DataAsset, DataSpec

router = APIRouter(tags=["data"])


@router.post("/data", status_code=201)
def create(
    context: Acting,
    name: str,
    filename: str,
    content: Annotated[bytes, Body(media_type="application/jsonl")] = b"",
    test_size: float = 0.2,
    seed: int = 42,
) -> DataAsset:
    try:
        spec = DataSpec(name=name, filename=filename, test_size=test_size, seed=seed)
    except ValidationError as error:
        faults = [Fault(str(item["loc"][0]), str(item["msg"])) for item in error.errors()]
        raise InvalidInput("The data asset cannot be created.", faults=faults) from None
    return data.create(context, spec, content)


@router.get("/data")
def listing(context: Acting) -> list[DataAsset]:
    return data.listing(context)


@router.get("/data/{name}")
def show(context: Acting, name: str, version: str | None = None) -> DataAsset:
    return data.show(context, f"{name}:{version}" if version else name)


@router.get("/data/{name}/rows")
def rows(
    context: Acting,
    name: str,
    version: str | None = None,
    split: Annotated[str, Query(pattern="^(train|test)$")] = "train",
    limit: Annotated[int, Query(ge=1, le=1000)] = 3,
) -> list[dict[str, Any]]:
    reference = f"{name}:{version}" if version else name
    return data.rows(context, reference, part=split, limit=limit)
