"""Endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from phoundry.client.checking import checked
from phoundry.client.transport import Transport, segment
from phoundry.specs.endpoint import (
    Endpoint,
    EndpointKeys,
    EndpointSpec,
    EndpointToken,
    EndpointUpdate,
    KeyType,
    TokenRequest,
)


class Endpoints:
    """`client.endpoints`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, spec: EndpointSpec) -> Endpoint:
        body = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return self._transport.one(Endpoint, "POST", "/api/endpoints", json=body, starts=True)

    def show(self, name: str) -> Endpoint:
        return self._transport.one(Endpoint, "GET", f"/api/endpoints/{segment(name)}")

    def update(
        self,
        name: str,
        traffic: Mapping[str, int] | None = None,
        *,
        mirror_traffic: Mapping[str, int] | None = None,
        requests_per_minute: int | None = None,
        allowed_origins: Sequence[str] | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Endpoint:
        """Change what is given; the rest stays. In force when this returns.

        Args:
            traffic: whole percent a deployment, adding up to 100, or to 0.
            mirror_traffic: percent of the requests (at most 50) that are copied to one deployment
                without live traffic, whose answers nobody sees; `{}` takes the mirror away.
            requests_per_minute: of each key; 0 takes the limit away.
            allowed_origins: web pages that may call the endpoint; `[]` for none.
        """
        given: dict[str, Any] = {
            "traffic": traffic,
            "mirror_traffic": mirror_traffic,
            "allowed_origins": allowed_origins,
            "description": description,
            "tags": tags,
        }
        values = {key: value for key, value in given.items() if value is not None}
        if requests_per_minute is not None:
            limit = {"requests_per_minute": requests_per_minute} if requests_per_minute else None
            values["rate_limit"] = limit
        what = "The traffic" if values.keys() == {"traffic"} else "The change"
        change = checked(EndpointUpdate, values, what)
        return self._transport.one(
            Endpoint,
            "PATCH",
            f"/api/endpoints/{segment(name)}",
            json=change.model_dump(mode="json", exclude_unset=True),
            starts=True,
        )

    def delete(self, name: str) -> None:
        """Remove the endpoint with its deployments; their processes end."""
        self._transport.request("DELETE", f"/api/endpoints/{segment(name)}", starts=True)

    def keys(self, name: str) -> EndpointKeys:
        return self._transport.one(EndpointKeys, "POST", f"/api/endpoints/{segment(name)}/listkeys")

    def regenerate(self, name: str, key: KeyType) -> EndpointKeys:
        """A new primary or secondary key; the old one is refused from now on."""
        return self._transport.one(
            EndpointKeys,
            "POST",
            f"/api/endpoints/{segment(name)}/regeneratekeys",
            json={"keyType": key},
            starts=True,
        )

    def token(self, name: str, seconds: int = 3600) -> EndpointToken:
        """A key that ends by itself, for an endpoint with `auth_mode` aml_token."""
        asked = checked(TokenRequest, {"seconds": seconds}, "The token")
        return self._transport.one(
            EndpointToken,
            "POST",
            f"/api/endpoints/{segment(name)}/token",
            json=asked.model_dump(),
            starts=True,
        )

    def secret(self, endpoint: Endpoint) -> str:
        """What opens the endpoint now: its primary key, or a new token of an hour."""
        if endpoint.auth_mode == "aml_token":
            return self.token(endpoint.name).accessToken
        return self.keys(endpoint.name).primaryKey

    def list(self) -> Sequence[Endpoint]:
        return self._transport.many(Endpoint, "/api/endpoints")
