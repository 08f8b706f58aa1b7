"""A deployment that nobody asks ends its last replica, and the next request brings one back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from phoundry.files import read_json
from phoundry.services import deployments, endpoints, routing
from phoundry.services.context import Context
from phoundry.services.reconcile import deployments as reconcile
from phoundry.services.reconcile import load, pace, tasks
from phoundry.services.reconcile.scaling import Scaler
from phoundry.specs.deployment import Deployment, DeploymentSpec, DeploymentUpdate
from phoundry.specs.endpoint import EndpointSpec
from tests.services.fake_workers import MODEL, FakeWorkers

START = 1_000_000.0
SCALE = {
    "type": "target_utilization",
    "min_instances": 0,
    "max_instances": 2,
    "idle_time_before_scale_down": 10,
}


class Served:
    """faq/blue, asked and looked at in a time of its own."""

    def __init__(self, context: Context, fleet: FakeWorkers) -> None:
        self.context, self.fleet, self.now = context, fleet, START
        self.scaler = Scaler(clock=lambda: self.now)
        endpoints.create(context, EndpointSpec(name="faq"))
        spec = {"name": "blue", "endpoint_name": "faq", "model": MODEL, "gate": False}
        deployments.create(context, DeploymentSpec.model_validate(spec | {"scale_settings": SCALE}))
        self.rounds(5)
        fleet.start(context.home.routes.parent, "phoundry.serving.gateway", {})

    def rounds(self, count: int = 3, seconds: float = 1.0) -> None:
        for _ in range(count):
            self.now += seconds
            tasks.tick(self.context)
            self.scaler.tick(self.context)
            reconcile.tick(self.context)
            routing.publish(self.context, wait=False)
            table: dict[str, Any] = read_json(self.context.home.routes)
            loaded = json.dumps({"generation": table["generation"]})
            (self.context.home.routes.parent / "loaded.json").write_text(loaded)
            self.fleet.stop()
            self.fleet.work()

    def call(self) -> None:
        """The gateway says that a request waits for it."""
        counts = {"running": 1, "waiting": 0, "last_request": self.now}
        told = {"time": self.now, "deployments": {"faq/blue": counts}, "wanted": ["faq/blue"]}
        load.path(self.context).write_text(json.dumps(told))

    def show(self) -> Deployment:
        return deployments.show(self.context, "faq", "blue")

    def route(self) -> dict[str, Any]:
        table: dict[str, Any] = read_json(self.context.home.routes)
        return table["endpoints"]["faq"]["deployments"]["blue"]


@pytest.fixture
def served(context: Context, fleet: FakeWorkers) -> Served:
    return Served(context, fleet)


def test_it_falls_asleep_and_is_woken(served: Served) -> None:
    assert (served.show().ready_replicas, served.show().asleep) == (1, False)
    served.rounds(7, seconds=4)
    shown = served.show()
    assert (shown.asleep, shown.replicas, shown.memory_bytes) == (True, [], None)
    assert shown.provisioning_state == "Succeeded"
    assert served.fleet.replicas() == []
    assert (served.route()["asleep"], served.route()["replicas"]) == (True, [])
    assert not pace.of(served.context).under_way, "what sleeps keeps nobody awake"
    served.call()
    served.scaler.tick(served.context)
    reconcile.tick(served.context)
    assert len(served.fleet.replicas()) == 1, "the tick that hears the call starts the process"
    served.rounds(2)
    assert (served.show().ready_replicas, served.show().asleep) == (1, False)
    assert len(served.route()["replicas"]) == 1
    assert endpoints.show(served.context, "faq").traffic == {"blue": 100}


def test_an_update_wakes_it_and_it_sleeps_again(served: Served) -> None:
    served.rounds(7, seconds=4)
    assert served.show().asleep
    deployments.update(served.context, "faq", "blue", DeploymentUpdate(context_length=512))
    served.rounds(4)
    shown = served.show()
    assert (shown.provisioning_state, shown.revision, shown.ready_replicas) == ("Succeeded", 2, 1)
    served.rounds(7, seconds=4)
    assert served.show().asleep


def test_one_that_sleeps_can_be_deleted(served: Served) -> None:
    served.rounds(7, seconds=4)
    endpoints.delete(served.context, "faq")
    served.rounds(2)
    assert endpoints.listing(served.context) == []
