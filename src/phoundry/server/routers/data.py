"""/api/data"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from phoundry.server.routers.common import Acting
from phoundry.services import data, data_diff, data_tokens, uploads
from phoundry.specs.data import DataAsset, DataDiff, DataSpec, TokenReport, Upload

router = APIRouter(tags=["data"])

Version = Annotated[str | None, Query(description="The newest unless named")]
LOOK_SECONDS = 0.2  # between two looks whether the caller of a long creation is still there
PIECE = 1 << 20  # bytes handed to the disk at once


@router.post("/data/files", status_code=201)
async def upload(
    context: Acting, request: Request, filename: Annotated[str, Query(min_length=1)]
) -> Upload:
    """Hand over the bytes of one file, as the body. Creating an asset then names their SHA-256."""
    length = request.headers.get("content-length", "0")
    with uploads.receiving(context, filename, int(length)) as receiver:
        async for piece in _pieces(request):
            await to_thread.run_sync(receiver.write, piece)
        return await to_thread.run_sync(receiver.finish)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces of about a mebibyte: one trip to a thread for many of the network's."""
    gathered, size = list[bytes](), 0
    async for chunk in request.stream():
        gathered.append(chunk)
        size += len(chunk)
        if size >= PIECE:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)


@router.post("/data", status_code=201)
async def create(context: Acting, request: Request, spec: DataSpec) -> DataAsset:
    """Read, check and split files that were handed over before. It ends when the caller goes."""
    gone = threading.Event()
    watcher = asyncio.create_task(_watch(request, gone))
    try:
        return await to_thread.run_sync(data.create, context, spec, gone.is_set)
    finally:
        watcher.cancel()


async def _watch(request: Request, gone: threading.Event) -> None:
    """Set `gone` once the client has disconnected."""
    while not await request.is_disconnected():
        await asyncio.sleep(LOOK_SECONDS)
    gone.set()


@router.get("/data")
def listing(context: Acting) -> list[DataAsset]:
    return data.listing(context)


@router.get("/data/{name}")
def show(context: Acting, name: str, version: Version = None) -> DataAsset:
    return data.show(context, _reference(name, version))


@router.delete("/data/{name}")
def delete(context: Acting, name: str, version: Version = None) -> list[str]:
    """Without a version, all of them. Answers what was deleted."""
    return data.delete(context, _reference(name, version))


@router.get("/data/{name}/rows")
def rows(
    context: Acting,
    name: str,
    version: Version = None,
    split: data.Part = "train",
    limit: Annotated[int, Query(ge=1, le=1000)] = 3,
) -> list[dict[str, Any]]:
    return data.rows(context, _reference(name, version), part=split, limit=limit)


@router.get("/data/{name}/export")
def export(
    context: Acting, name: str, version: Version = None, split: data.Part = "all"
) -> StreamingResponse:
    """The rows as JSONL."""
    pieces = data.export(context, _reference(name, version), part=split)
    return StreamingResponse(pieces, media_type="application/jsonl")


@router.get("/data/{name}/diff")
def diff(
    context: Acting,
    name: str,
    other: Annotated[str, Query(min_length=1, description="NAME or NAME:VERSION")],
    version: Version = None,
    limit: Annotated[int, Query(ge=0, le=100)] = 3,
) -> DataDiff:
    """What `other` has that this asset lacks, and the reverse."""
    return data_diff.diff(context, _reference(name, version), other, limit=limit)


@router.get("/data/{name}/tokens")
def tokens(
    context: Acting,
    name: str,
    model: Annotated[str, Query(min_length=1)],
    version: Version = None,
    split: data.Part = "train",
    limit: Annotated[int, Query(ge=0, le=100)] = 3,
    max_tokens: Annotated[int | None, Query(gt=0)] = None,
    fetch: bool = False,
    retry: bool = False,
) -> TokenReport:
    """The rows as `model` sees them; `fetch` gets the model's files where they are missing."""
    return data_tokens.report(
        context,
        _reference(name, version),
        model,
        part=split,
        limit=limit,
        max_tokens=max_tokens,
        fetch=fetch,
        retry=retry,
    )


def _reference(name: str, version: str | None) -> str:
    return f"{name}:{version}" if version else name
