"""Replicas on the fake engine and one gateway, each a real process, shared by a whole run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from phoundry.files import read_json
from phoundry.serving.gateway.auth import hash_key
from phoundry.serving.gateway.routes import (
    DeploymentRoute,
    EndpointRoute,
    ReplicaRoute,
    RoutingTable,
    write_routes,
)
from tests.serving.processes import Worker, replica_spec, start, wait_for
from tests.support.tiny_tokenizer import make_tiny_tokenizer

if TYPE_CHECKING:
    from tests.serving.tuned import Tuned

StartReplica = Callable[..., Worker]


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"), style="chatml").folder


@pytest.fixture(scope="session")
def start_replica(
    tmp_path_factory: pytest.TempPathFactory, tokenizer_dir: Path
) -> Iterator[StartReplica]:
    """Start a replica with these changes to the spec; all of them end with the run."""
    started: list[Worker] = []

    def begin(**changes: Any) -> Worker:
        run_dir = tmp_path_factory.mktemp("replica") / "run"
        spec = replica_spec(tokenizer_dir, **changes)
        started.append(start("phoundry.serving.replica", run_dir, spec))
        return started[-1]

    yield begin
    for worker in started:
        worker.kill()


@pytest.fixture(scope="session")
def echo(start_replica: StartReplica) -> Worker:
    """Answers at once with the prompt's words."""
    return start_replica(name="echo")


@pytest.fixture(scope="session")
def slow(start_replica: StartReplica) -> Worker:
    """Takes 20 ms for each token."""
    return start_replica(name="slow", options={"delay_ms": 20})


@pytest.fixture(scope="session")
def failing(start_replica: StartReplica) -> Worker:
    """Fails after two tokens; the warm-up asks for one, so the replica becomes ready."""
    return start_replica(name="failing", options={"fail_after": 2})


@pytest.fixture(scope="session")
def hanging(start_replica: StartReplica) -> Worker:
    """Says two tokens and then nothing for ever; two slots."""
    return start_replica(name="hanging", options={"hang_after": 2})


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Made once a process; no test writes to it."""
    from tests.serving.tuned import make

    return make(tmp_path_factory.mktemp("tuned"))


class Gateway:
    """The gateway process and the table it follows."""

    def __init__(self, worker: Worker, routes: Path) -> None:
        self.worker = worker
        self.routes = routes
        self.url = worker.url
        self._generations = count(1)

    def use(self, endpoints: dict[str, EndpointRoute]) -> None:
        """Put `endpoints` into force and wait until they are."""
        generation = next(self._generations)
        write_routes(self.routes, RoutingTable(generation, endpoints))
        wait_for(lambda: self.generation == generation)

    @property
    def generation(self) -> int:
        loaded = read_json(self.worker.run_dir / "loaded.json")
        return int(loaded["generation"]) if loaded else -1

    def client(self, key: str | None = "key-of-faq") -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    routes = folder / "routes.json"
    spec = {"host": "127.0.0.1", "port": 0, "routes_path": str(routes)}
    worker = start("phoundry.serving.gateway", folder / "run", spec)
    yield Gateway(worker, routes)
    worker.kill()


def deployment(*workers: Worker, **changes: Any) -> DeploymentRoute:
    """A deployment on these replicas."""
    replicas = [ReplicaRoute(worker.url, "replica-token") for worker in workers]
    return DeploymentRoute(replicas, **changes)


def endpoint(key: str = "key-of-faq", **deployments: DeploymentRoute) -> EndpointRoute:
    """An endpoint whose first deployment has all traffic."""
    traffic = {name: 0 if index else 100 for index, name in enumerate(deployments)}
    return EndpointRoute([hash_key(key), hash_key(f"{key}-2")], traffic, deployments)


def chat(text: str = "Who founded Microsoft?", **members: Any) -> dict[str, Any]:
    """An OpenAI request."""
    return {"model": "faq", "messages": [{"role": "user", "content": text}], **members}


def score(text: str = "Who founded Microsoft?", **parameters: Any) -> dict[str, Any]:
    """Azure's request."""
    messages = [{"role": "user", "content": text}]
    return {"input_data": {"input_string": messages, "parameters": parameters}}
