"""The routing table as live objects: who may enter, and which deployment answers."""

from __future__ import annotations

import itertools
import random
from functools import partial

from phoundry.errors import NotFound, Unavailable
from phoundry.serving.gateway.auth import KeyIndex
from phoundry.serving.gateway.cors import Origins
from phoundry.serving.gateway.limits import Limiter
from phoundry.serving.gateway.load import Load
from phoundry.serving.gateway.passages import Passages
from phoundry.serving.gateway.rates import RateLimit, renewed
from phoundry.serving.gateway.replicas import PATIENCE_SECONDS, Replicas
from phoundry.serving.gateway.routes import (
    DeploymentRoute,
    EndpointRoute,
    ReplicaRoute,
    RoutingTable,
)
from phoundry.serving.gateway.upstream import Upstream

PIN = "azureml-model-deployment"


class Deployment:
    """One deployment. It outlives changes of the table, so that requests in flight follow them."""

    def __init__(self, endpoint: str, name: str, load: Load, patience: float) -> None:
        self.endpoint = endpoint
        self.name = name
        self.full_name = f"{endpoint}/{name}"
        self.header = (PIN.encode(), name.encode())
        self.timeout = 0.0  # seconds
        self.once = False  # whether a request must not be asked again
        self.limiter = Limiter(1)
        # No method of its own: tables are frozen (`reload`), and a cycle is never collected.
        self.replicas = Replicas(partial(_unavailable, endpoint, name), patience)
        self._load = load
        self._removed = False

    def apply(self, route: DeploymentRoute, upstreams: list[Upstream]) -> None:
        self.timeout = route.timeout_ms / 1000
        self.once = route.once
        self.limiter.resize(route.max_concurrent * max(1, len(upstreams)))
        self.replicas.replace(upstreams, asleep=route.asleep)

    def remove(self) -> None:
        """It is in no table any more: who waits for a replica of it waits in vain."""
        self._removed = True
        self.replicas.remove()
        self._load.forget(self)

    def touch(self) -> None:
        """A request came or ended."""
        self._load.touch(self)

    def want(self) -> None:
        """A request waits for it while it sleeps."""
        self._load.want(self)

    @property
    def running(self) -> int:
        return self.limiter.running

    @property
    def waiting(self) -> int:
        return self.limiter.waiting

    @property
    def asleep(self) -> bool:
        return self.replicas.asleep

    @property
    def removed(self) -> bool:
        return self._removed


def _unavailable(endpoint: str, name: str) -> Unavailable:
    return Unavailable(
        f"No replica of the deployment '{name}' of '{endpoint}' is ready.",
        remedy=f"`phoundry deployment show {name} --endpoint {endpoint}` says why.",
    )


class Endpoint:
    """One endpoint of the table in force."""

    def __init__(
        self,
        name: str,
        route: EndpointRoute,
        deployments: list[Deployment],
        rate: RateLimit | None,
    ) -> None:
        self.name = name
        self.rate = rate
        self.deployments = {deployment.name: deployment for deployment in deployments}
        weights = {key: share for key, share in route.traffic.items() if share > 0}
        self._live = [self.deployments[key] for key in weights]
        self._bounds = list(itertools.accumulate(weights.values()))
        self.mirrors = [
            (self.deployments[key], share) for key, share in route.mirror.items() if share > 0
        ]

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
    """The table in force. `update` changes it whole; requests in flight keep what they have, unless
    their key was revoked."""

    def __init__(
        self, chance: random.Random | None = None, patience: float = PATIENCE_SECONDS
    ) -> None:
        """`patience`: seconds that a request waits for a replica where one was lost."""
        self.generation = -1
        self.endpoints: dict[str, Endpoint] = {}
        self.keys = KeyIndex({})
        self.origins = Origins({})
        self.passages = Passages()
        self.load = Load()
        self.chance = chance or random.Random()  # noqa: S311 - shares traffic, guards nothing
        self._patience = patience
        self._routes: dict[str, EndpointRoute] = {}
        self._upstreams: dict[ReplicaRoute, Upstream] = {}

    def update(self, table: RoutingTable) -> None:
        before, self.endpoints = self.endpoints, {}
        for name, route in table.endpoints.items():
            known = before.get(name)
            if known is not None and self._routes[name] == route:
                self.endpoints[name] = known
            else:
                self.endpoints[name] = self._endpoint(name, route, known)
        for name in before.keys() - self.endpoints.keys():
            for deployment in before[name].deployments.values():
                deployment.remove()
        self._routes = table.endpoints
        keys, self.keys = (
            self.keys,
            KeyIndex(
                {name: route.key_hashes for name, route in table.endpoints.items()},
                {name: route.tokens for name, route in table.endpoints.items()},
            ),
        )
        self.origins = Origins(
            {name: route.allowed_origins for name, route in table.endpoints.items()}
        )
        self.generation = table.generation
        self._retire(table)
        self.passages.recheck(keys, self.keys, self.endpoints)

    def close_idle(self, before: float) -> None:
        """Hang up connections that have been idle since before this moment of time.monotonic."""
        for upstream in self._upstreams.values():
            upstream.close_idle(before)

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

    def _endpoint(self, name: str, route: EndpointRoute, known: Endpoint | None) -> Endpoint:
        old = known.deployments if known else {}
        deployments: list[Deployment] = []
        for key, settings in route.deployments.items():
            deployment = old.get(key) or Deployment(name, key, self.load, self._patience)
            deployment.apply(settings, [self._upstream(replica) for replica in settings.replicas])
            deployments.append(deployment)
        for key in old.keys() - route.deployments.keys():
            old[key].remove()
        rate = renewed(known.rate if known else None, name, route.requests_per_minute)
        return Endpoint(name, route, deployments, rate)

    def _upstream(self, replica: ReplicaRoute) -> Upstream:
        known = self._upstreams.get(replica)
        if known is None:
            known = self._upstreams[replica] = Upstream(replica.url, replica.token)
        return known

    def _retire(self, table: RoutingTable) -> None:
        """Let go of replicas that no deployment has any more."""
        if not self._upstreams:
            return
        named = {
            replica
            for route in table.endpoints.values()
            for deployment in route.deployments.values()
            for replica in deployment.replicas
        }
        for replica in self._upstreams.keys() - named:
            self._upstreams.pop(replica).retire()
