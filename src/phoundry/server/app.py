"""The API: routers over the services, errors mapped once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from phoundry.errors import Fault, InvalidInput, NotFound, PhoundryError, UsageError
from phoundry.server.routers import ROUTERS
from phoundry.server.security import Guard
from phoundry.server.waking import Waking
from phoundry.services.context import Context, open_context
from phoundry.services.trouble import explained
from phoundry.settings import Home
from phoundry.version import __version__

# The host that a process calls itself when it runs the services without a control plane.
IN_PROCESS = "phoundry.local"


def create_app(
    home: Home,
    *,
    context: Context | None = None,
    token: str | None = None,
    address: str | None = None,
    wake: Callable[[], None] | None = None,
) -> FastAPI:
    """The API over the services of `home`.

    `address` and `wake` (called after every request that may have changed something) are the
    control plane's; without them the app serves one process's own calls. The token that every
    call must carry is `app.state.token`.
    """
    app = FastAPI(title="Phoundry", version=__version__, docs_url=None, redoc_url=None)
    app.state.context = context or open_context(home)
    app.state.token = token or secrets.token_urlsafe(32)
    app.state.address = address
    app.state.shutdown = None
    for router in ROUTERS:
        app.include_router(router, prefix="/api")
    app.add_api_route("/healthz", _health)
    app.add_exception_handler(PhoundryError, _on_error)
    for trouble in (OSError, OperationalError):
        app.add_exception_handler(trouble, _on_trouble)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    if wake:
        app.add_middleware(Waking, wake=wake)
    app.add_middleware(Guard, token=app.state.token, names=(IN_PROCESS,))
    return app


def _health() -> dict[str, str]:
    return {"status": "ok", "version": __version__}


def _answer(error: PhoundryError, status: int | None = None) -> JSONResponse:
    return JSONResponse({"error": error.to_dict()}, status_code=status or error.status)


async def _on_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PhoundryError)  # noqa: S101 - registered for this class
    return _answer(error)


async def _on_trouble(request: Request, error: Exception) -> JSONResponse:
    """The disk is full, the database locked: a disk that has space again needs no restart."""
    return _answer(explained(error, request.app.state.context.home))


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    faults = [_fault(detail) for detail in error.errors()]
    return _answer(InvalidInput("The request cannot be used.", faults=faults))


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    kind = NotFound if error.status_code == 404 else UsageError
    return _answer(kind(f"{request.method} {request.url.path}: {error.detail}"), error.status_code)


def _fault(detail: Any) -> Fault:
    place = ".".join(str(part) for part in detail["loc"] if part not in ("body", "query", "path"))
    return Fault(place or "body", str(detail["msg"]).removeprefix("Value error, "))
