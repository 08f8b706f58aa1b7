from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from phoundry.client import Client
from phoundry.client.returning import wait_until_back
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from tests.client.fake_api import KEY, FakeApi


class FakeGateway(http.server.ThreadingHTTPServer):
    """Answers 503 until it was asked `missing` times for a deployment, then a replica's 400."""

    missing = 3

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[tuple[str, str]] = []


class Answer(http.server.BaseHTTPRequestHandler):
    server: FakeGateway

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        name = self.headers["azureml-model-deployment"]
        self.server.asked.append((name, self.headers["Authorization"]))
        times = [each for each, _ in self.server.asked].count(name)
        self.send_response(400 if times > self.server.missing else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def deployed(client: Client, api: FakeApi, gateway: FakeGateway) -> Client:
    client.endpoints.create(EndpointSpec(name="faq"))
    host, port = gateway.server_address[:2]
    api.resources["endpoints"]["faq"]["scoring_uri"] = f"http://{host!s}:{port}/endpoints/faq/score"
    for name in ("blue", "green"):
        client.deployments.create(DeploymentSpec(name=name, endpoint_name="faq", model="faq:1"))
    return client


def test_every_deployment_is_waited_for(deployed: Client, gateway: FakeGateway) -> None:
    assert wait_until_back(deployed)
    assert [name for name, _ in gateway.asked] == ["blue"] * 4 + ["green"] * 4
    assert {key for _, key in gateway.asked} == {f"Bearer {KEY}"}


def test_one_that_has_failed_is_not(deployed: Client, api: FakeApi, gateway: FakeGateway) -> None:
    gateway.missing = 10**6
    for each in api.resources["deployments of faq"].values():
        each["provisioning_state"] = "Failed"
    assert wait_until_back(deployed)
    assert len(gateway.asked) == 2


def test_there_is_an_end_to_waiting(deployed: Client, gateway: FakeGateway) -> None:
    gateway.missing = 10**6
    assert not wait_until_back(deployed, seconds=0)
