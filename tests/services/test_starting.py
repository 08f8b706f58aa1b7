"""A replica that hangs before it is ready is started again, and one that is slow is not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from phoundry.files import write_json
from phoundry.services import deployments, endpoints
from phoundry.services.context import Context
from phoundry.services.reconcile import deployments as reconcile
from phoundry.services.reconcile import starting, tasks
from phoundry.specs.deployment import Deployment, DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from tests.services.fake_workers import MODEL, FakeWorkers


def begun(context: Context, fleet: FakeWorkers, **spec: Any) -> Path:
    """The folder of a replica whose process has started, and has not said that it is ready."""
    endpoints.create(context, EndpointSpec(name="faq"))
    values = {"name": "blue", "endpoint_name": "faq", "model": MODEL, "gate": False, **spec}
    deployments.create(context, DeploymentSpec.model_validate(values))
    for _ in range(10):
        tasks.tick(context)
        reconcile.tick(context)
        if found := fleet.replicas():
            return found[0]
        fleet.work()
    raise AssertionError("no replica was started")


NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a tick takes here, it is no part of a start."""
    monkeypatch.setattr(starting, "time", SimpleNamespace(time=lambda: NOW))


def later(context: Context, folder: Path, seconds: float) -> Deployment:
    """What a tick makes of the replica so many seconds after its start."""
    write_json(folder / "process.json", {"pid": 4711, "create_time": NOW - seconds})
    reconcile.tick(context)
    return deployments.show(context, "faq", "blue")


def test_it_is_ended_and_started_again(
    context: Context, fleet: FakeWorkers, caplog: pytest.LogCaptureFixture
) -> None:
    folder = begun(context, fleet)
    size = fleet.running[folder].spec["memory_bytes"]
    limit = 310 + starting.SECONDS_A_GIB * size / 2**30
    assert later(context, folder, limit - 5).replicas[0].state == "starting"
    shown = later(context, folder, limit + 5)
    assert shown.replicas[0].state == "crashed"
    (event,) = (event for event in shown.events if event.kind == "crashed")
    assert "It was not ready" in event.message
    assert f"the limit is {limit:,.0f} s" in event.message
    assert "faq/blue" in caplog.text
    assert fleet.terminated == [folder]
    fleet.stop()  # it hears SIGTERM after all
    for _ in range(3):
        later(context, folder, 0)
    assert len([start for start in fleet.starts if start.folder == folder]) == 2
    fleet.answer(folder)
    assert later(context, folder, 1).replicas[0].state == "ready"


def test_probes_leave_it_more_time_and_never_less(context: Context, fleet: FakeWorkers) -> None:
    short = {"initial_delay": 0, "period": 1, "failure_threshold": 1}
    long = {"initial_delay": 100, "period": 20, "failure_threshold": 50}
    folder = begun(context, fleet, liveness_probe=short)
    assert later(context, folder, 300).replicas[0].state == "starting"
    for told, seconds in (
        ({}, 310),
        ({"liveness_probe": short, "readiness_probe": short}, 310),
        ({"readiness_probe": long}, 1100),
        ({"liveness_probe": long}, 1100),
    ):
        assert starting.seconds(told, {}) == seconds
    assert starting.seconds({}, {"memory_bytes": 2**33}) == 310 + 8 * starting.SECONDS_A_GIB
    assert starting.seconds({}, {"pool_dir": "p"}) == 310 + starting.SHARED_SECONDS


def test_a_process_of_which_nothing_is_known_is_left_alone(
    context: Context, fleet: FakeWorkers
) -> None:
    folder = begun(context, fleet)
    (folder / "process.json").unlink(missing_ok=True)
    reconcile.tick(context)
    assert deployments.show(context, "faq", "blue").replicas[0].state == "starting"
