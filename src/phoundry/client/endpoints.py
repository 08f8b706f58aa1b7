"""Endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from phoundry.client.checking import checked
from phoundry.client.transport import Transport, segment
from phoundry.specs.endpoint import Endpoint, EndpointKeys, EndpointSpec, KeyType, TrafficUpdate


class Endpoints:
    """`client.endpoints`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, spec: EndpointSpec) -> Endpoint:
        body = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return self._transport.one(Endpoint, "POST", "/api/endpoints", json=body, starts=True)

    def show(self, name: str) -> Endpoint:
        return self._transport.one(Endpoint, "GET", f"/api/endpoints/{segment(name)}")

    def update(self, name: str, traffic: Mapping[str, int]) -> Endpoint:
        """Share the requests out: whole percent a deployment, adding up to 100, or to 0."""
        body = checked(TrafficUpdate, {"traffic": dict(traffic)}, "The traffic").model_dump()
        return self._transport.one(
            Endpoint, "PATCH", f"/api/endpoints/{segment(name)}", json=body, starts=True
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

    def list(self) -> Sequence[Endpoint]:
        return self._transport.many(Endpoint, "/api/endpoints")
