"""Online endpoints, under Azure ML's keys and rules."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, field_validator

from phoundry.specs.base import Event, Spec, View
from phoundry.specs.names import EndpointName

EndpointStatus = Literal["Creating", "Succeeded", "Updating", "Deleting", "Failed"]
KeyType = Literal["primary", "secondary"]
Traffic = dict[str, int]


def check_traffic(traffic: Traffic) -> Traffic:
    """Integer percent of 0…100 each, sum exactly 0 or 100. Raises ValueError."""
    for name, percent in traffic.items():
        if not 0 <= percent <= 100:
            raise ValueError(f"'{name}' has {percent} %; a share is a whole number from 0 to 100")
    total = sum(traffic.values())
    if total not in (0, 100):
        raise ValueError(f"the shares add up to {total} %; they must add up to 100, or to 0")
    return traffic


class EndpointSpec(Spec):
    schema_: str | None = Field(default=None, alias="$schema")
    name: EndpointName
    auth_mode: Literal["key"] = "key"
    traffic: Traffic = Field(default_factory=Traffic)
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])

    _traffic = field_validator("traffic")(check_traffic)


class TrafficUpdate(Spec):
    traffic: Traffic

    _traffic = field_validator("traffic")(check_traffic)


class EndpointKeys(View):
    """Azure's reply to `listKeys`. No repr shows a key: notebooks and logs keep what is shown."""

    primaryKey: str = Field(repr=False)  # noqa: N815 - the wire name
    secondaryKey: str = Field(repr=False)  # noqa: N815


class Endpoint(View):
    name: str
    auth_mode: str = "key"
    provisioning_state: EndpointStatus
    traffic: Traffic = Field(default_factory=Traffic)
    scoring_uri: str = Field(description="POST …/score")
    openai_base_url: str = Field(description="For OpenAI's client: base_url")
    deployments: list[str] = Field(default_factory=list[str])
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    error: dict[str, Any] | None = None
    created_at: datetime
    events: list[Event] = Field(default_factory=list[Event])
