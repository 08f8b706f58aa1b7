"""`endpoint update`: what is given changes, what is not stays, what cannot be changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from phoundry.errors import InvalidInput
from phoundry.files import read_json
from phoundry.services import deployments, endpoints, routing
from phoundry.services.context import Context
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec, EndpointUpdate

MODEL = "smollm2-135m-instruct"


@pytest.fixture
def endpoint(context: Context) -> str:
    made = endpoints.create(context, EndpointSpec(name="faq-bot"))
    for name in ("blue", "next"):
        spec = DeploymentSpec(name=name, endpoint_name=made.name, model=MODEL, gate=False)
        deployments.create(context, spec)
    endpoints.update(context, made.name, EndpointUpdate(traffic={"blue": 100}))
    return made.name


def change(context: Context, name: str, **fields: Any) -> dict[str, Any]:
    """What the table says after the change."""
    endpoints.update(context, name, EndpointUpdate.model_validate(fields))
    routing.publish(context)
    return read_json(context.home.routes)["endpoints"][name]


def test_each_field_changes_alone_and_reaches_the_table(context: Context, endpoint: str) -> None:
    assert change(context, endpoint, mirror_traffic={"next": 20})["mirror"] == {"next": 20}
    found = change(context, endpoint, rate_limit={"requests_per_minute": 600})
    assert (found["requests_per_minute"], found["mirror"]) == (600, {"next": 20})
    found = change(context, endpoint, allowed_origins=["https://example.org"])
    assert (found["allowed_origins"], found["requests_per_minute"]) == (
        ["https://example.org"],
        600,
    )
    found = change(context, endpoint, description="hello", tags={"a": "b"})
    assert found["traffic"] == {"blue": 100}
    shown = endpoints.show(context, endpoint)
    assert shown.mirror_traffic == {"next": 20}
    assert shown.rate_limit
    assert shown.rate_limit.requests_per_minute == 600
    assert shown.allowed_origins == ["https://example.org"]
    assert (shown.description, shown.tags) == ("hello", {"a": "b"})
    said = [event.message for event in shown.events]
    assert "Mirrored: next 20 %." in said
    found = change(context, endpoint, mirror_traffic={}, rate_limit=None, allowed_origins=[])
    assert (found["mirror"], found["requests_per_minute"], found["allowed_origins"]) == (
        {},
        None,
        [],
    )


def test_one_deployment_is_live_or_a_mirror(context: Context, endpoint: str) -> None:
    with pytest.raises(InvalidInput, match="'blue' has 100 % of the live traffic and 10 %"):
        change(context, endpoint, mirror_traffic={"blue": 10})
    change(context, endpoint, mirror_traffic={"next": 10})
    with pytest.raises(InvalidInput, match="one or the other"):
        change(context, endpoint, traffic={"blue": 50, "next": 50})
    both = change(context, endpoint, traffic={"next": 100}, mirror_traffic={"blue": 10})
    assert (both["traffic"], both["mirror"]) == ({"next": 100}, {"blue": 10})


def test_what_cannot_be_changes_nothing(context: Context, endpoint: str) -> None:
    before = endpoints.show(context, endpoint)
    with pytest.raises(InvalidInput) as caught:
        change(
            context,
            endpoint,
            traffic={"blu": 100},
            mirror_traffic={"nxt": 5},
            description="not kept",
            rate_limit={"requests_per_minute": 5},
        )
    assert [fault.where for fault in caught.value.faults] == ["traffic", "mirror_traffic"]
    assert "It has: blue, next" in str(caught.value)
    assert endpoints.show(context, endpoint) == before


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mirror_traffic": {"next": 51}}, "takes from 0 to 50"),
        ({"mirror_traffic": {"next": 5, "blue": 5}}, "one deployment can be"),
        ({"traffic": {"blue": 99}}, "add up to 99 %"),
        ({"rate_limit": {"requests_per_minute": 0}}, "greater than or equal to 1"),
        ({"allowed_origins": ["example.org"]}, "match pattern"),
        ({"allowed_origins": ["https://example.org/page"]}, "match pattern"),
        ({"auth_mode": "key"}, "not permitted"),
    ],
)
def test_what_is_refused_before_it_is_looked_at(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        EndpointUpdate.model_validate(fields)


def test_azures_own_way_to_log_in_is_refused_with_ours() -> None:
    with pytest.raises(ValidationError, match="write key, or aml_token"):
        EndpointSpec.model_validate({"name": "faq-bot", "auth_mode": "aad_token"})


def test_a_new_endpoint_has_nothing_to_mirror_to(context: Context) -> None:
    with pytest.raises(InvalidInput, match="no deployments to send traffic to"):
        endpoints.create(context, EndpointSpec(name="faq-bot", mirror_traffic={"next": 5}))


def test_limits_are_there_from_the_first_moment(context: Context) -> None:
    spec = EndpointSpec.model_validate(
        {"name": "faq-bot", "rate_limit": {"requests_per_minute": 7}, "allowed_origins": ["*"]}
    )
    made = endpoints.create(context, spec)
    assert made.rate_limit == spec.rate_limit
    routing.publish(context)
    found = read_json(context.home.routes)["endpoints"]["faq-bot"]
    assert (found["requests_per_minute"], found["allowed_origins"]) == (7, ["*"])
