"""The routing table: nothing in it that the gateway refuses whole, and a verb waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import select

from phoundry.compute.workers import WorkerState
from phoundry.errors import Unavailable
from phoundry.services import endpoints, routing
from phoundry.services.context import Context
from phoundry.serving.gateway.routes import ORIGIN, load_routes
from phoundry.specs.endpoint import EndpointSpec
from phoundry.store.tables import EndpointRow


@given(st.text(max_size=8))
def test_an_origin_that_a_spec_takes_is_one_of_the_table(rest: str) -> None:
    for origin in ("https://" + rest, "https://a" + rest + "b", "*" + rest):
        try:
            EndpointSpec(name="faq", allowed_origins=[origin])
        except ValidationError:
            assert not ORIGIN.fullmatch(origin)
        else:
            assert ORIGIN.fullmatch(origin)


@pytest.mark.parametrize("odd", ["https://a\x1cb", "https://b\u00fccher.example", "https://a\x85"])
def test_an_origin_of_an_older_version_does_not_freeze_the_table(
    context: Context, odd: str
) -> None:
    with pytest.raises(ValidationError):
        EndpointSpec(name="faq", allowed_origins=[odd])
    endpoints.create(context, EndpointSpec(name="faq", allowed_origins=["https://a.example"]))
    with context.begin("endpoints/write") as session:
        row = session.scalars(select(EndpointRow)).one()
        row.settings = {**row.settings, "allowed_origins": ["https://a.example", odd]}
    routing.publish(context)
    found = load_routes(context.home.routes)
    assert found.endpoints["faq"].allowed_origins == ["https://a.example"]


def test_a_verb_says_that_the_gateway_has_not_taken_its_change(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready: dict[str, int] | None = {"port": 1}

    def inspect(run_dir: Path) -> WorkerState:
        return WorkerState(True, 1, None, ready)

    monkeypatch.setattr(routing.workers, "inspect", inspect)
    monkeypatch.setattr(routing, "_WAIT_SECONDS", 0.05)
    with pytest.raises(Unavailable, match=r"is recorded.*log\.txt"):
        routing.publish(context)
    routing.publish(context, wait=False)
    ready = None  # it only starts: it looks at the table first
    routing.publish(context)
