"""The routing table as live objects: who may enter, and which deployment answers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from phoundry.errors import NotFound, Unavailable
from phoundry.serving.gateway.auth import KeyIndex
from phoundry.serving.gateway.limits import Limiter
from phoundry.serving.gateway.passages import Passages
from phoundry.serving.gateway.routes import DeploymentRoute, EndpointRoute, RoutingTable
from phoundry.serving.gateway.upstream import Upstream

PIN = "azureml-model-deployment"


class Deployment:
    """One deployment of the table in force. Its limiter outlives changes of the table."""

    def __init__(self, endpoint: str, name: str, route: DeploymentRoute, limiter: Limiter) -> None:
        self.endpoint = endpoint
        self.name = name
        self.timeout = route.timeout_ms / 1000  # seconds
        self.limiter = limiter
        self.header = (PIN.encode(), name.encode())
        self._upstreams = [Upstream(replica.url, replica.token) for replica in route.replicas]
        self._turn: Iterator[int] = itertools.cycle(range(max(1, len(self._upstreams))))

    def upstreams(self) -> list[Upstream]:
        """The ready replicas, the one whose turn it is first.

        Raises:
            Unavailable: there is none.
        """
        if not self._upstreams:
            raise self.unavailable()
        if len(self._upstreams) == 1:
            return self._upstreams
        first = next(self._turn)
        return self._upstreams[first:] + self._upstreams[:first]

    def unavailable(self) -> Unavailable:
        return Unavailable(
            f"No replica of the deployment '{self.name}' of '{self.endpoint}' is ready.",
            remedy=f"`phoundry deployment show {self.name} --endpoint {self.endpoint}` says why.",
        )


class Endpoint:
    """One endpoint of the table in force."""

    def __init__(self, name: str, route: EndpointRoute, deployments: list[Deployment]) -> None:
        self.name = name
        self.deployments = {deployment.name: deployment for deployment in deployments}
        weights = {key: share for key, share in route.traffic.items() if share > 0}
        self._live = [self.deployments[key] for key in weights]
        self._bounds = list(itertools.accumulate(weights.values()))

    def choose(self, pinned: str | None, chance: random.Random) -> Deployment:
        """The pinned deployment, or one at random in proportion to the weights.

        Raises:
            NotFound: no such deployment, or none is pinned and none has traffic.
        """
        if pinned is not None:
            if pinned not in self.deployments:
                raise NotFound.named(
                    f"deployment of the endpoint '{self.name}' called", pinned, self.deployments
                )
            return self.deployments[pinned]
        if len(self._live) == 1:
            return self._live[0]
        if not self._live:
            raise NotFound(
                f"The endpoint '{self.name}' sends no traffic to any deployment.",
                remedy=f"Name one in the header '{PIN}', or share the traffic out with "
                f"`phoundry endpoint update {self.name} --traffic NAME=100`.",
            )
        return chance.choices(self._live, cum_weights=self._bounds)[0]


class Router:
    """The table in force. `update` swaps it whole; requests in flight keep what they have, unless
    their key was revoked."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self.generation = -1
        self.endpoints: dict[str, Endpoint] = {}
        self.keys = KeyIndex({})
        self.passages = Passages()
        self.chance = chance or random.Random()  # noqa: S311 - shares traffic, guards nothing

    def update(self, table: RoutingTable) -> None:
        endpoints = {
            name: Endpoint(name, route, [
                self._deployment(name, deployment, settings)
                for deployment, settings in route.deployments.items()
            ])
            for name, route in table.endpoints.items()
        }  # fmt: skip
        self.keys = KeyIndex({name: route.key_hashes for name, route in table.endpoints.items()})
        self.endpoints = endpoints
        self.generation = table.generation
        self.passages.recheck(self.keys, endpoints)

    def endpoint(self, name: str, opened: frozenset[str]) -> Endpoint:
        """The endpoint called `name`, if the caller's key opens it.

        Raises:
            NotFound: it does not exist, or is not of this key: the answer is the same.
        """
        found = self.endpoints.get(name) if name in opened else None
        if found is None:
            raise NotFound(
                f"This key opens no endpoint called '{name[:64]}'.",
                remedy="`phoundry endpoint list` shows the endpoints, "
                "`phoundry endpoint keys NAME` the keys of one.",
            )
        return found

    def _deployment(self, endpoint: str, name: str, route: DeploymentRoute) -> Deployment:
        limit = route.max_concurrent * max(1, len(route.replicas))
        before = self.endpoints.get(endpoint)
        known = before.deployments.get(name) if before else None
        if known is None:
            return Deployment(endpoint, name, route, Limiter(limit))
        known.limiter.resize(limit)
        return Deployment(endpoint, name, route, known.limiter)
