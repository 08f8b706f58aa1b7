"""What the reconciler does with what probes found, with replicas whose processes are fakes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from phoundry.files import read_json, write_json
from phoundry.services import deployments, endpoints, routing
from phoundry.services.context import Context, history
from phoundry.services.reconcile import deployments as reconcile
from phoundry.services.reconcile import probes, tasks
from phoundry.services.reconcile.prober import Prober
from phoundry.services.reconcile.probing import Target, Verdict
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.probe import Probe
from phoundry.store.tables import ReplicaRow
from tests.services.fake_workers import MODEL, FakeWorkers

GOOD = Verdict(True, True, 0, 0)


class Told(Prober):
    """Asks nobody: its verdict is that of the test."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: 500.0)
        self.targets: dict[str, Target] = {}
        self.verdict = GOOD

    def watch(self, targets: Mapping[str, Target]) -> dict[str, Verdict]:
        self.targets = dict(targets)
        return dict.fromkeys(targets, self.verdict)


def serve(context: Context, fleet: FakeWorkers, **spec: Any) -> Path:
    """A deployment with one replica that is ready; its folder."""
    endpoints.create(context, EndpointSpec(name="faq"))
    values = {"name": "blue", "endpoint_name": "faq", "model": MODEL, "gate": False, **spec}
    deployments.create(context, DeploymentSpec.model_validate(values))
    for _ in range(5):
        tasks.tick(context)
        reconcile.tick(context)
        fleet.work()
    reconcile.tick(context)
    assert row(context).state == "ready"
    return Path(row(context).run_dir)


def row(context: Context) -> ReplicaRow:
    with context.database.begin() as session:
        return session.query(ReplicaRow).one()


def routed(context: Context) -> int:
    routing.publish(context)
    table: dict[str, Any] = read_json(context.home.routes)
    return len(table["endpoints"]["faq"]["deployments"]["blue"]["replicas"])


def kinds(context: Context) -> list[str]:
    with context.database.begin() as session:
        return [event.kind for event in history(session, context, "deployment/faq/blue")]


def test_a_replica_is_asked_as_its_deployment_says(context: Context, fleet: FakeWorkers) -> None:
    probe = {"initial_delay": 1, "period": 2, "timeout": 3, "failure_threshold": 4}
    folder = serve(context, fleet, liveness_probe=probe)
    write_json(folder / "process.json", {"pid": 4711, "create_time": time.time() - 100})
    told = Told()
    probes.tick(context, told)
    (target,) = told.targets.values()
    assert target.port == 1
    assert target.live == Probe(initial_delay=1, period=2, timeout=3, failure_threshold=4)
    assert target.ready == Probe()
    assert target.started == pytest.approx(400.0, abs=5)
    (key,) = told.targets
    write_json(folder / "process.json", {"pid": 4712, "create_time": time.time()})
    probes.tick(context, told)
    assert key not in told.targets, "another process, of which nothing is known"


def test_readiness_takes_out_of_rotation_and_back(context: Context, fleet: FakeWorkers) -> None:
    serve(context, fleet)
    told = Told()
    probes.tick(context, told)
    assert (row(context).state, routed(context)) == ("ready", 1)
    told.verdict = Verdict(True, False, 0, 30)
    probes.tick(context, told)
    reconcile.tick(context)
    assert (row(context).state, routed(context)) == ("unready", 0)
    probes.tick(context, told)
    assert kinds(context).count("unready") == 1, "said once"
    (target,) = told.targets.values()
    assert not target.rotated, "an adopted one stays out"
    told.verdict = GOOD
    probes.tick(context, told)
    assert (row(context).state, routed(context)) == ("ready", 1)
    assert fleet.modules().count("serving.replica") == 1, "it was never restarted"


def test_a_replica_that_hangs_is_started_again(context: Context, fleet: FakeWorkers) -> None:
    folder = serve(context, fleet)
    told = Told()
    told.verdict = Verdict(False, True, 3, 0)
    probes.tick(context, told)
    assert row(context).state == "crashed"
    assert "liveness probe failed 3 times in a row" in (row(context).error or {})["message"]
    assert routed(context) == 0
    probes.tick(context, told)
    assert told.targets == {}, "what is being restarted is not asked"
    assert kinds(context).count("crashed") == 1
    fleet.kill(folder)
    for _ in range(3):
        reconcile.tick(context)
    fleet.work()
    reconcile.tick(context)
    assert (row(context).state, routed(context)) == ("ready", 1)
    assert fleet.modules().count("serving.replica") == 2


def test_one_that_has_just_ended_is_not_asked(context: Context, fleet: FakeWorkers) -> None:
    folder = serve(context, fleet)
    (folder / "ready.json").unlink()
    told = Told()
    probes.tick(context, told)
    assert told.targets == {}
