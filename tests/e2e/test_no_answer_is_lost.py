"""Two deployments of two replicas are asked without a pause while all that may happen to them
happens: not one answer is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from phoundry.client import Client
from phoundry.compute import workers
from phoundry.server import launch
from phoundry.settings import Home
from phoundry.specs.deployment import Deployment, DeploymentSpec, DeploymentUpdate
from phoundry.specs.endpoint import EndpointSpec
from tests.e2e.asking import Asking
from tests.support.checkpoints import build

SECONDS = 120.0  # that nothing here needs, but on a machine that does much else


@pytest.fixture
def client(home: Home, free_ports: tuple[int, int], tmp_path: Path) -> Iterator[Client]:
    """An endpoint `faq` with blue and green of a tiny model, two replicas each, half and half."""
    model = tmp_path / "tiny"
    model.mkdir()
    build("llama", model, max_position_embeddings=512)
    launch.ensure_running(home, port=free_ports[0], gateway_port=free_ports[1])
    made = Client(home)
    try:
        made.endpoints.create(EndpointSpec(name="faq"))
        for name in ("blue", "green"):
            spec = DeploymentSpec(
                name=name, endpoint_name="faq", model=str(model), gate=False, instance_count=2,
                context_length=256,
            )  # fmt: skip
            made.deployments.create(spec)
        for name in ("blue", "green"):
            until(lambda name=name: settled(made, name, 2))
        made.endpoints.update("faq", {"blue": 50, "green": 50})
        yield made
    finally:
        if info := launch.running(home):
            Client(home).shutdown()
            until(lambda: not workers.exists(info.pid) or launch.running(home) is None)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)


def settled(client: Client, name: str, replicas: int) -> bool:
    found = client.deployments.show("faq", name)
    assert found.provisioning_state != "Failed", found.error
    states = [each.state for each in found.replicas]
    return found.provisioning_state == "Succeeded" and states == ["ready"] * replicas


def pids(found: Deployment) -> set[int]:
    return {each.pid for each in found.replicas if each.pid}


@pytest.mark.slow
def test_no_answer_is_lost(client: Client, home: Home) -> None:
    endpoint = client.endpoints.show("faq")
    base = endpoint.openai_base_url.removesuffix("/v1")
    key = client.endpoints.keys("faq").primaryKey
    with Asking(base, key, "faq") as asking:

        def answered(more: int = 30) -> None:
            """Requests are answered in what is now."""
            enough = sum(asking.answers.by.values()) + more
            until(lambda: sum(asking.answers.by.values()) >= enough)

        answered()
        for traffic in (
            {"blue": 100, "green": 0},
            {"blue": 0, "green": 100},
            {"blue": 30, "green": 70},
        ):
            client.endpoints.update("faq", traffic)
            answered()
        client.deployments.update("faq", "blue", DeploymentUpdate(instance_count=3))
        until(lambda: settled(client, "blue", 3))
        client.deployments.update("faq", "blue", DeploymentUpdate(instance_count=1))
        until(lambda: settled(client, "blue", 1))
        answered()
        before = pids(client.deployments.show("faq", "green"))
        client.deployments.update("faq", "green", DeploymentUpdate(context_length=512))
        crash(home)  # in the middle of the roll-out
        answered()
        client = Client(home)
        until(lambda: settled(client, "green", 2))
        green = client.deployments.show("faq", "green")
        assert (green.revision, green.context_length) == (2, 512)
        assert not pids(green) & before, "every replica is another"
        answered()
        victim = min(pids(green))
        os.kill(victim, signal.SIGKILL)
        answered()
        until(lambda: settled(client, "green", 2) and victim not in current(client, "green"))
        answered()
    found = asking.answers
    assert found.lost == [], found.lost[:5]
    assert found.by.keys() == {"blue", "green"}
    assert found.whole > 100
    assert found.streams > 30
    assert found.broken <= 8, "only those that the killed replica was answering"
    print(f"\n{found.whole} answers, {found.streams} streams, {found.broken} of them broken off")


def current(client: Client, name: str) -> set[int]:
    return pids(client.deployments.show("faq", name))


def crash(home: Home) -> None:
    """The control plane is killed, and started again."""
    info = launch.running(home)
    assert info is not None
    os.kill(info.pid, signal.SIGKILL)
    until(lambda: launch.running(home) is None)
    again = launch.ensure_running(home)
    assert again.pid != info.pid
