"""What every router takes: the acting context."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from phoundry.services.context import Context


def _context(request: Request) -> Context:
    # Whoever holds the home's token is its owner; the guard has checked it.
    return request.app.state.context


Acting = Annotated[Context, Depends(_context)]
