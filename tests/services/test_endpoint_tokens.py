"""Tokens: told once, kept as hashes, in the table with their last second, gone with time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from phoundry.errors import Conflict, NotFound
from phoundry.files import read_json
from phoundry.services import endpoint_tokens, endpoints, routing
from phoundry.services.context import Context
from phoundry.services.prune import histories
from phoundry.specs.endpoint import EndpointSpec, TokenRequest
from phoundry.store.tables import EndpointRow, EndpointTokenRow


@pytest.fixture
def endpoint(context: Context) -> str:
    return endpoints.create(context, EndpointSpec(name="faq-bot", auth_mode="aml_token")).name


def route(context: Context, endpoint: str) -> dict[str, Any]:
    routing.publish(context)
    return read_json(context.home.routes)["endpoints"][endpoint]


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def test_a_token_is_in_the_table_with_its_end_and_no_key_is(
    context: Context, endpoint: str
) -> None:
    began = int(time.time())
    made = endpoint_tokens.issue(context, endpoint)
    lasts = made.expiryTimeUtc - began
    assert 3600 <= lasts <= 3660
    assert began < made.refreshAfterTimeUtc < made.expiryTimeUtc
    assert len(made.accessToken) >= 43  # 256 bits
    found = route(context, endpoint)
    assert found["tokens"] == {sha256(made.accessToken): made.expiryTimeUtc}
    assert found["key_hashes"] == []


def test_it_is_nowhere_in_clear(context: Context, endpoint: str) -> None:
    made = endpoint_tokens.issue(context, endpoint)
    routing.publish(context)
    assert made.accessToken not in repr(made)
    for path in context.home.root.rglob("*"):
        if path.is_file():
            assert made.accessToken.encode() not in path.read_bytes(), path


def test_each_mode_refuses_what_is_the_others(context: Context, endpoint: str) -> None:
    endpoints.create(context, EndpointSpec(name="by-key"))
    with pytest.raises(Conflict, match="endpoint keys by-key"):
        endpoint_tokens.issue(context, "by-key")
    with pytest.raises(Conflict, match="endpoint token faq-bot"):
        endpoints.keys(context, endpoint)
    with pytest.raises(Conflict, match="endpoint token faq-bot"):
        endpoints.regenerate_key(context, endpoint, "primary")
    with pytest.raises(NotFound):
        endpoint_tokens.issue(context, "other")


def by_time(context: Context, endpoint: str) -> None:
    histories.tick(context)


@pytest.mark.parametrize("forget", [endpoint_tokens.issue, by_time])
def test_what_has_long_ended_is_dropped(
    context: Context, endpoint: str, forget: Callable[[Context, str], object]
) -> None:
    old = endpoint_tokens.issue(context, endpoint, TokenRequest(seconds=1))
    new = endpoint_tokens.issue(context, endpoint)
    with context.begin("endpoints/write") as session:
        row = session.scalars(select(EndpointTokenRow)).first()
        assert row is not None
        row.expires_at -= timedelta(hours=2)
    assert sha256(old.accessToken) in route(context, endpoint)["tokens"]
    forget(context, endpoint)
    assert sha256(new.accessToken) in route(context, endpoint)["tokens"]
    assert sha256(old.accessToken) not in route(context, endpoint)["tokens"]


def test_too_many_are_refused(
    context: Context, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_tokens, "LIMIT", 2)
    for _ in range(2):
        endpoint_tokens.issue(context, endpoint)
    with pytest.raises(Conflict, match="has 2 tokens that are still good; the limit is 2"):
        endpoint_tokens.issue(context, endpoint)


def test_a_deleted_endpoints_tokens_open_nothing_of_its_successor(
    context: Context, endpoint: str
) -> None:
    endpoint_tokens.issue(context, endpoint)
    endpoints.delete(context, endpoint)
    with context.begin("endpoints/write") as session:
        assert session.scalars(select(EndpointTokenRow)).all() == []
    with pytest.raises(Conflict, match="is being deleted"):
        endpoint_tokens.issue(context, endpoint)


def test_a_new_endpoint_has_no_tokens_of_one_before(context: Context, endpoint: str) -> None:
    endpoint_tokens.issue(context, endpoint)
    with context.begin("endpoints/write") as session:  # gone, and its tokens by some way are not
        session.execute(delete(EndpointRow))
    endpoints.create(context, EndpointSpec(name=endpoint, auth_mode="aml_token"))
    assert route(context, endpoint)["tokens"] == {}
