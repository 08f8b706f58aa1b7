"""Tokens of endpoints with `auth_mode: aml_token`: keys that end by themselves.

A token is told once, to whom it is made for; the store keeps its hash and its last second.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from phoundry.errors import Conflict
from phoundry.services.context import Context, now, record
from phoundry.services.rows import get
from phoundry.serving.gateway.auth import hash_key
from phoundry.specs.endpoint import EndpointToken, TokenRequest
from phoundry.store.tables import EndpointRow, EndpointTokenRow
from phoundry.store.vault import new_secret

_REMEDY = "`phoundry endpoint list` shows what there is."
LIMIT = 1000  # tokens of one endpoint at a time: all of them are in the gateway's table
_REFRESH = 0.75  # of a token's life: when its holder should ask for the next


def issue(context: Context, name: str, request: TokenRequest | None = None) -> EndpointToken:
    """A new token; it opens the endpoint when this returns, and until its last second.

    Raises:
        Conflict: the endpoint is opened by keys, is being deleted, or has too many tokens.
    """
    seconds = (request or TokenRequest()).seconds
    token = new_secret()
    with context.begin("endpoints/token") as session:
        row = get(session, context, EndpointRow, name, noun="endpoint", remedy=_REMEDY)
        if row.auth_mode != "aml_token":
            raise Conflict(
                f"Endpoint '{name}' has auth_mode {row.auth_mode}: it is opened by keys.",
                remedy=f"`phoundry endpoint keys {name}` shows them; for tokens, make an endpoint "
                "with `--auth-mode aml_token`.",
            )
        if row.state == "Deleting":
            raise Conflict(
                f"Endpoint '{name}' is being deleted: a token would open its successor.",
                remedy=_REMEDY,
            )
        forget_expired(session)
        _room(session, context, name)
        begins = now().replace(microsecond=0)
        ends = begins + timedelta(seconds=seconds)
        digest = hash_key(token)
        session.add(
            EndpointTokenRow(
                workspace=context.workspace, endpoint=name, sha256=digest, expires_at=ends
            )
        )
        record(session, context, f"endpoint/{name}", "token", f"New token for {seconds} s.")
    context.publish()
    return EndpointToken(
        accessToken=token,
        expiryTimeUtc=int(ends.timestamp()),
        refreshAfterTimeUtc=int(begins.timestamp() + seconds * _REFRESH),
    )


def of(session: Session, context: Context, endpoint: str) -> dict[str, int]:
    """The hashes of an endpoint's tokens, each with the second from which on it opens nothing.

    Those that have just expired are among them, so that the gateway can say so.
    """
    query = select(EndpointTokenRow).filter_by(workspace=context.workspace, endpoint=endpoint)
    rows = session.scalars(query.order_by(EndpointTokenRow.id))
    return {row.sha256: int(row.expires_at.timestamp()) for row in rows}


def forget(session: Session, context: Context, endpoint: str) -> None:
    """Drop all tokens of an endpoint that goes."""
    session.execute(
        delete(EndpointTokenRow).filter_by(workspace=context.workspace, endpoint=endpoint)
    )


def forget_expired(session: Session, *, grace: timedelta = timedelta(hours=1)) -> None:
    """Drop tokens that ended more than `grace` ago."""
    session.execute(delete(EndpointTokenRow).where(EndpointTokenRow.expires_at < now() - grace))


def _room(session: Session, context: Context, endpoint: str) -> None:
    query = select(func.count()).select_from(EndpointTokenRow)
    query = query.filter_by(workspace=context.workspace, endpoint=endpoint)
    live = session.scalar(query.where(EndpointTokenRow.expires_at > now())) or 0
    if live >= LIMIT:
        raise Conflict(
            f"Endpoint '{endpoint}' has {live:,} tokens that are still good; the limit is "
            f"{LIMIT:,}.",
            remedy="Use a token for as long as it lasts, or ask for one of a shorter life.",
        )
