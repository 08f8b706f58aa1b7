"""An endpoint's document: what it writes is made so, what it leaves out stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from phoundry.errors import InvalidInput
from phoundry.journey.ensure import ensure, share
from phoundry.journey.export import export
from phoundry.journey.plan import plan
from phoundry.services import deployments, endpoints
from phoundry.services.context import Context, open_context
from phoundry.settings import Home
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointUpdate
from phoundry.specs.plan import Declared, PlanRequest

LIMITS: dict[str, Any] = {
    "mirror_traffic": {"next": 10},
    "rate_limit": {"requests_per_minute": 60},
    "allowed_origins": ["https://example.org"],
}
DOCUMENT: dict[str, Any] = {"name": "fruit", "traffic": {"blue": 100}, **LIMITS}


@pytest.fixture
def context(home: Home) -> Iterator[Context]:
    opened = open_context(home)
    yield opened
    opened.database.close()


def make(context: Context, document: dict[str, Any]) -> None:
    """As `apply` does: the endpoint, its deployments, its traffic."""
    ensure(context, Declared(kind="endpoint", spec=document), again=False)
    if not deployments.listing(context, "fruit"):
        for name in ("blue", "next"):
            spec = DeploymentSpec(
                name=name, endpoint_name="fruit", model="smollm2-135m-instruct", gate=False
            )
            deployments.create(context, spec)
    share(context, document)


def changes(context: Context, document: dict[str, Any]) -> dict[str, Any]:
    """What a plan says would change, and to what."""
    request = PlanRequest(documents=[Declared(kind="endpoint", spec=document)])
    (item,) = plan(context, request).items
    return {change.field: change.new for change in item.changes}


def test_a_document_with_limits_is_made_planned_and_written_out_again(context: Context) -> None:
    assert changes(context, DOCUMENT) == {
        "traffic": {"blue": 100},
        "mirror_traffic": {"next": 10},
    }
    make(context, DOCUMENT)
    found = endpoints.show(context, "fruit").model_dump(mode="json")
    assert {key: found[key] for key in LIMITS} == LIMITS
    assert changes(context, DOCUMENT) == {}
    written = next(iter(export(context, "fruit", "endpoint")))
    assert {key: written[key] for key in LIMITS} == LIMITS


def test_what_is_not_written_stays_and_what_is_written_empty_goes(context: Context) -> None:
    make(context, DOCUMENT)
    bare: dict[str, Any] = {"name": "fruit", "traffic": {"blue": 100}}
    assert changes(context, bare) == {}
    make(context, bare)
    assert endpoints.show(context, "fruit").mirror_traffic == {"next": 10}
    empty: dict[str, Any] = bare | {"mirror_traffic": {}, "rate_limit": None, "allowed_origins": []}
    assert changes(context, empty).keys() == {
        "mirror_traffic.next",
        "rate_limit",
        "allowed_origins",
    }
    make(context, empty)
    found = endpoints.show(context, "fruit")
    assert (found.mirror_traffic, found.rate_limit, found.allowed_origins) == ({}, None, [])


def test_a_mirror_cannot_become_live_unnoticed(context: Context) -> None:
    make(context, DOCUMENT)
    with pytest.raises(InvalidInput, match="one or the other"):
        make(context, {"name": "fruit", "traffic": {"next": 100}})
    make(context, {"name": "fruit", "traffic": {"next": 100}, "mirror_traffic": {"blue": 5}})
    assert endpoints.show(context, "fruit").traffic == {"next": 100}


def test_how_it_is_opened_cannot_change(context: Context) -> None:
    make(context, DOCUMENT)
    endpoints.update(context, "fruit", EndpointUpdate(description="D"))
    with pytest.raises(InvalidInput, match="make another endpoint for aml_token"):
        changes(context, DOCUMENT | {"auth_mode": "aml_token"})
