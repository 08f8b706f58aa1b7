"""Online endpoints, under Azure ML's keys and rules."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from phoundry.specs.base import Event, Spec, View
from phoundry.specs.names import EndpointName

AuthMode = Literal["key", "aml_token"]
Origin = Annotated[str, StringConstraints(pattern=r"^(\*|https?://[!-.0-~]+)$")]
MIRROR_LIMIT = 50  # percent
EndpointStatus = Literal["Creating", "Succeeded", "Updating", "Deleting", "Failed"]
KeyType = Literal["primary", "secondary"]
Traffic = dict[str, int]


def check_auth_mode(mode: object) -> object:
    """Raise ValueError for what only a cloud can do."""
    if mode == "aad_token":
        raise ValueError(
            "aad_token asks Microsoft Entra who calls, which this machine cannot: write key, or "
            "aml_token for tokens that expire"
        )
    return mode


def check_traffic(traffic: Traffic) -> Traffic:
    """Integer percent of 0…100 each, sum exactly 0 or 100. Raises ValueError."""
    for name, percent in traffic.items():
        if not 0 <= percent <= 100:
            raise ValueError(f"'{name}' has {percent} %; a share is a whole number from 0 to 100")
    total = sum(traffic.values())
    if total not in (0, 100):
        raise ValueError(f"the shares add up to {total} %; they must add up to 100, or to 0")
    return traffic


def check_mirror(mirror: Traffic) -> Traffic:
    """At most one deployment, at most `MIRROR_LIMIT` percent. Raises ValueError."""
    named = {name: percent for name, percent in mirror.items() if percent}
    if len(named) > 1:
        raise ValueError(f"{', '.join(named)} are mirrored to; one deployment can be")
    for name, percent in mirror.items():
        if not 0 <= percent <= MIRROR_LIMIT:
            raise ValueError(f"'{name}' has {percent} %; a mirror takes from 0 to {MIRROR_LIMIT}")
    return mirror


def check_apart(traffic: Traffic, mirror: Traffic) -> None:
    """Raise ValueError where a deployment is both live and a mirror."""
    for name, percent in mirror.items():
        if percent and traffic.get(name):
            raise ValueError(
                f"'{name}' has {traffic[name]} % of the live traffic and {percent} % of the "
                "mirrored: a deployment is one or the other"
            )


class RateLimit(Spec):
    """For each key of an endpoint. What is beyond is answered with 429 and Retry-After."""

    requests_per_minute: int = Field(ge=1, le=1_000_000)


class EndpointSpec(Spec):
    schema_: str | None = Field(default=None, alias="$schema")
    name: EndpointName
    auth_mode: AuthMode = "key"
    traffic: Traffic = Field(default_factory=Traffic)
    mirror_traffic: Traffic = Field(
        default_factory=Traffic, description="Percent of requests copied to one other deployment"
    )
    rate_limit: RateLimit | None = None
    allowed_origins: list[Origin] = Field(
        default_factory=list[str], description="Web pages that may call it (CORS); '*': any"
    )
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])

    _mode = field_validator("auth_mode", mode="before")(check_auth_mode)
    _traffic = field_validator("traffic")(check_traffic)
    _mirror = field_validator("mirror_traffic")(check_mirror)

    @model_validator(mode="after")
    def _live_or_mirror(self) -> EndpointSpec:
        check_apart(self.traffic, self.mirror_traffic)
        return self


class EndpointUpdate(Spec):
    """What may change while an endpoint serves: only what is written here changes."""

    traffic: Traffic | None = None
    mirror_traffic: Traffic | None = None
    rate_limit: RateLimit | None = Field(default=None, description="null takes it away")
    allowed_origins: list[Origin] | None = None
    description: str | None = None
    tags: dict[str, str] | None = None

    @field_validator("traffic")
    @classmethod
    def _traffic(cls, traffic: Traffic | None) -> Traffic | None:
        return None if traffic is None else check_traffic(traffic)

    @field_validator("mirror_traffic")
    @classmethod
    def _mirror(cls, mirror: Traffic | None) -> Traffic | None:
        return None if mirror is None else check_mirror(mirror)


class EndpointKeys(View):
    """Azure's reply to `listKeys`. No repr shows a key: notebooks and logs keep what is shown."""

    primaryKey: str = Field(repr=False)  # noqa: N815 - the wire name
    secondaryKey: str = Field(repr=False)  # noqa: N815


class TokenRequest(Spec):
    """How long a new token shall last."""

    seconds: int = Field(default=3600, ge=1, le=86_400, description="Until it opens nothing")


class EndpointToken(View):
    """Azure's reply to `token`: a key that ends by itself. Times are seconds since the epoch."""

    accessToken: str = Field(repr=False)  # noqa: N815 - the wire name
    expiryTimeUtc: int  # noqa: N815
    refreshAfterTimeUtc: int  # noqa: N815
    tokenType: str = "Bearer"  # noqa: N815


class Endpoint(View):
    name: str
    auth_mode: str = "key"
    provisioning_state: EndpointStatus
    traffic: Traffic = Field(default_factory=Traffic)
    mirror_traffic: Traffic = Field(default_factory=Traffic)
    rate_limit: RateLimit | None = None
    allowed_origins: list[str] = Field(default_factory=list[str])
    scoring_uri: str = Field(description="POST …/score")
    openai_base_url: str = Field(description="For OpenAI's client: base_url")
    deployments: list[str] = Field(default_factory=list[str])
    gates: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Of its deployments: whether each is proven to answer as its model does",
    )
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    error: dict[str, Any] | None = None
    created_at: datetime
    events: list[Event] = Field(default_factory=list[Event])
