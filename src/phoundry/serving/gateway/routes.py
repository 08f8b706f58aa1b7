"""The routing table: the one file through which the control plane steers the gateway.

    {"generation": 12,
     "endpoints": {
       "faq": {
         "key_hashes": ["<SHA-256 of a key, hexadecimal>", …],
         "tokens": {"<SHA-256 of a token>": 1790000000, …},
         "traffic": {"blue": 90, "green": 10},
         "mirror": {"next": 20},
         "requests_per_minute": 600,
         "allowed_origins": ["https://example.org"],
         "deployments": {
           "blue": {"replicas": [{"url": "http://127.0.0.1:4567", "token": "…"}],
                    "timeout_ms": 180000, "max_concurrent": 8, "asleep": false, "once": false}}}}}

It is replaced whole, has mode 0600 (it holds the replicas' tokens) and grows in `generation` with
every change. `max_concurrent` is for each replica. A token opens the endpoint until the second
since the epoch beside it. A deployment that is `asleep` has no replica because nobody asked it
anything: a request wakes it and waits. One that answers `once` serves a flow: its tools may change
things, so a request whose answer broke off is never asked again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from phoundry.errors import Fault, InvalidInput
from phoundry.files import PRIVATE, write_json

_HASH = re.compile(r"[0-9a-f]{64}")
# As browsers write it: printable ASCII, no path. `specs.endpoint.Origin` says the same.
ORIGIN = re.compile(r"\*|https?://[!-.0-~]+")
# The gateway sends a replica's token and the users' words to this address: loopback, and no path.
_URL = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\]):\d{1,5}")


@dataclass(frozen=True, slots=True)
class ReplicaRoute:
    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeploymentRoute:
    """`timeout_ms`: of a whole answer, or between two pieces of a stream."""

    replicas: list[ReplicaRoute] = field(default_factory=list[ReplicaRoute])
    timeout_ms: int = 180_000
    max_concurrent: int = 8
    asleep: bool = False
    once: bool = False


@dataclass(frozen=True, slots=True)
class EndpointRoute:
    """`traffic`: integer weights by deployment; 0 or absent is reached by the header alone.

    `mirror`: percent of the requests that are copied to a deployment. `requests_per_minute` is for
    each key; None: no limit.
    """

    key_hashes: list[str] = field(default_factory=list[str])
    traffic: dict[str, int] = field(default_factory=dict[str, int])
    deployments: dict[str, DeploymentRoute] = field(default_factory=dict[str, DeploymentRoute])
    tokens: dict[str, int] = field(default_factory=dict[str, int])
    mirror: dict[str, int] = field(default_factory=dict[str, int])
    requests_per_minute: int | None = None
    allowed_origins: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class RoutingTable:
    generation: int = 0
    endpoints: dict[str, EndpointRoute] = field(default_factory=dict[str, EndpointRoute])


def write_routes(path: Path, table: RoutingTable) -> None:
    """Replace the table in `path` as one change."""
    write_json(path, asdict(table), mode=PRIVATE)


def load_routes(path: Path) -> RoutingTable:
    """The table in `path`; an empty one where there is no file yet.

    Raises:
        InvalidInput: not a routing table: every fault with its place.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return RoutingTable()
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path.name} is not JSON: {error}") from None
    reader = _Reader()
    table = reader.table(value)
    if reader.faults:
        raise InvalidInput(f"{path.name} is not a routing table.", faults=reader.faults)
    return table


class _Reader:
    """Reads a table and collects every fault on the way."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def table(self, value: object) -> RoutingTable:
        fields = self.mapping("table", value)
        endpoints = self.mapping("endpoints", fields.get("endpoints", {}))
        return RoutingTable(
            self.whole("generation", fields.get("generation"), 0),
            {name: self.endpoint(f"endpoints.{name}", item) for name, item in endpoints.items()},
        )

    def endpoint(self, where: str, value: object) -> EndpointRoute:
        fields = self.mapping(where, value)
        deployments = self.mapping(f"{where}.deployments", fields.get("deployments", {}))
        hashes = self.items(f"{where}.key_hashes", fields.get("key_hashes", []))
        origins = self.items(f"{where}.allowed_origins", fields.get("allowed_origins", []))
        tokens = self.mapping(f"{where}.tokens", fields.get("tokens", {}))
        rate = fields.get("requests_per_minute")
        return EndpointRoute(
            [self.matching(f"{where}.key_hashes", item, _HASH) for item in hashes],
            self.shares(f"{where}.traffic", fields.get("traffic", {}), deployments),
            {
                name: self.deployment(f"{where}.deployments.{name}", item)
                for name, item in deployments.items()
            },
            tokens={
                self.matching(f"{where}.tokens", name, _HASH): self.whole(f"{where}.tokens", end, 0)
                for name, end in tokens.items()
            },
            mirror=self.shares(f"{where}.mirror", fields.get("mirror", {}), deployments),
            requests_per_minute=None
            if rate is None
            else self.whole(f"{where}.requests_per_minute", rate, 1),
            allowed_origins=[
                self.matching(f"{where}.allowed_origins", item, ORIGIN) for item in origins
            ],
        )

    def shares(
        self, where: str, value: object, deployments: Mapping[str, object]
    ) -> dict[str, int]:
        """Whole numbers by the name of a deployment."""
        shares = self.mapping(where, value)
        for name in shares.keys() - deployments.keys():
            self.faults.append(Fault(f"{where}.{name}", "no such deployment"))
        return {name: self.whole(where, item, 0) for name, item in shares.items()}

    def deployment(self, where: str, value: object) -> DeploymentRoute:
        fields = self.mapping(where, value)
        replicas = self.items(f"{where}.replicas", fields.get("replicas", []))
        return DeploymentRoute(
            [self.replica(f"{where}.replicas[{i}]", item) for i, item in enumerate(replicas)],
            self.whole(f"{where}.timeout_ms", fields.get("timeout_ms", 180_000), 1),
            self.whole(f"{where}.max_concurrent", fields.get("max_concurrent", 8), 1),
            fields.get("asleep") is True,
            fields.get("once") is True,
        )

    def replica(self, where: str, value: object) -> ReplicaRoute:
        fields = self.mapping(where, value)
        token = fields.get("token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            # Its value is a secret and stays out of the message.
            self.faults.append(Fault(f"{where}.token", "not a printable ASCII string"))
        return ReplicaRoute(self.matching(f"{where}.url", fields.get("url"), _URL), str(token))

    def mapping(self, where: str, value: object) -> Mapping[str, object]:
        if isinstance(value, dict):
            return cast(dict[str, object], value)
        self.faults.append(Fault(where, "not an object"))
        return {}

    def items(self, where: str, value: object) -> list[Any]:
        if isinstance(value, list):
            return cast(list[Any], value)
        self.faults.append(Fault(where, "not a list"))
        return []

    def whole(self, where: str, value: object, low: int) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= low:
            return value
        self.faults.append(Fault(where, f"not a whole number of at least {low}"))
        return low

    def matching(self, where: str, value: object, pattern: re.Pattern[str]) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        self.faults.append(Fault(where, f"does not match {pattern.pattern}"))
        return ""
