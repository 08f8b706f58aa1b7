"""One home with endpoints, whose processes are fakes and whose clock is the test's: what the state
machine of `test_endpoints_machine.py` moves, and what it looks at."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from phoundry.compute import machine
from phoundry.files import read_json
from phoundry.services import deployments, endpoints, routing
from phoundry.services.context import open_context
from phoundry.services.reconcile import deployments as reconcile_deployments
from phoundry.services.reconcile import load, probes, rollout, tasks
from phoundry.services.reconcile import replicas as reconcile_replicas
from phoundry.services.reconcile.prober import Prober
from phoundry.services.reconcile.probing import Target, Verdict
from phoundry.services.reconcile.scaling import Scaler
from phoundry.settings import Home
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.store.tables import DeploymentRow, ReplicaRow
from tests.services.fake_workers import MODEL, FakeWorkers

CLOCKS = (reconcile_replicas, rollout, deployments, endpoints)
PLENTY = 10**13  # bytes of memory

Edge = tuple[str, str, str]


class Told(Prober):
    """Asks nobody: those in `sick` fail the probe of that kind."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: 0.0)
        self.sick: dict[int, str] = {}  # by port

    def watch(self, targets: Mapping[str, Target]) -> dict[str, Verdict]:
        return {key: self._verdict(target.port) for key, target in targets.items()}

    def _verdict(self, port: int) -> Verdict:
        kind = self.sick.get(port, "")
        return Verdict(kind != "live", kind != "ready", 3, 3)


class World:
    """The services, the reconciler and its fakes. Replaced as a whole by `restart`, but for the
    home and the processes: what a control plane that was killed leaves behind."""

    def __init__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        self._folder = tempfile.TemporaryDirectory()
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.edges: list[Edge] = []
        self.fleet = FakeWorkers()
        self.fleet.install(self._patch)
        self._patch.setattr(machine, "available_memory", lambda: PLENTY)
        for module in CLOCKS:
            self._patch.setattr(module, "now", lambda: self.time)
        self._listeners = [(DeploymentRow.state, self._heard("deployment")),
                           (ReplicaRow.state, self._heard("replica"))]  # fmt: skip
        for attribute, listener in self._listeners:
            event.listen(attribute, "set", listener)
        root = Path(self._folder.name) / "home"
        shutil.copytree(_prepared(), root)
        self.home = Home(root)
        self.context = open_context(self.home)
        self.prober, self.scaler = Told(), self._scaler()
        self.fleet.start(self.home.routes.parent, "phoundry.serving.gateway", {})
        self.publish()
        self.gateway_loads()

    def _heard(self, what: str) -> Any:
        def listener(row: Any, value: Any, old: Any, initiator: Any) -> None:
            if isinstance(old, str) and old != value:
                self.edges.append((what, old, value))

        return listener

    def _scaler(self) -> Scaler:
        return Scaler(clock=lambda: self.time.timestamp())

    def close(self) -> None:
        for attribute, listener in self._listeners:
            event.remove(attribute, "set", listener)
        self.context.database.close()
        self._patch.undo()
        self._folder.cleanup()

    # What happens

    def tick(self) -> None:
        """One round of the reconciler, as the control plane's."""
        tasks.tick(self.context)
        self.scaler.tick(self.context)
        reconcile_deployments.tick(self.context)
        probes.tick(self.context, self.prober)
        self.publish()

    def restart(self) -> None:
        """The control plane is killed, and another comes."""
        self.context.database.close()
        self.context = open_context(self.home)
        self.prober, self.scaler = Told(), self._scaler()

    def settle(self) -> None:
        """Nothing goes wrong any more, everybody does their work, and time passes."""
        self.prober.sick.clear()
        self.say({})
        for _ in range(30):
            self.pass_time(2)
            self.round()
            if not self.moving():
                return

    def round(self) -> None:
        self.tick()
        self.gateway_loads()
        self.fleet.stop()
        self.fleet.work()

    def moving(self) -> bool:
        states = {row.state for row in self.deployments()}
        there = {row.state for row in self.replicas()}
        return bool(states & {"Creating", "Updating", "Deleting"}) or bool(
            there - {"ready", "unready", "failed"}
        )

    def pass_time(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def publish(self) -> None:
        routing.publish(self.context, wait=False)

    def gateway_loads(self) -> None:
        """The gateway has the newest table in force."""
        table: dict[str, Any] = read_json(self.home.routes) or {}
        loaded = {"generation": table.get("generation", 0)}
        (self.home.routes.parent / "loaded.json").write_text(json.dumps(loaded))

    def say(self, running: dict[str, int]) -> None:
        """The gateway's report: requests that run, by deployment."""
        now = self.time.timestamp()
        told = {
            name: {"running": count, "waiting": 0, "last_request": now}
            for name, count in running.items()
        }
        report: dict[str, Any] = {"time": now, "deployments": told, "wanted": []}
        load.path(self.context).write_text(json.dumps(report))

    # What there is

    def deployments(self) -> list[DeploymentRow]:
        with self.context.database.begin() as session:
            return session.query(DeploymentRow).all()

    def replicas(self) -> list[ReplicaRow]:
        with self.context.database.begin() as session:
            return session.query(ReplicaRow).all()

    def port(self, row: ReplicaRow) -> int:
        return self.fleet.ports[Path(row.run_dir)]

    def table(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.home.routes)
        return found["endpoints"]

    def routable(self, deployment: DeploymentRow) -> set[int]:
        """Ports of the replicas that shall get requests: ready ones that live, of no revision that
        is still to be proven."""
        return {
            self.port(row)
            for row in self.replicas()
            if (row.endpoint, row.deployment) == (deployment.endpoint, deployment.name)
            and row.state == "ready"
            and row.revision <= deployment.live
            and Path(row.run_dir) in self.fleet.running
        }


@cache
def _prepared() -> Path:
    """A home whose base model is there and converted, once for all examples."""
    root = Path(tempfile.mkdtemp(prefix="phoundry-test-")) / "home"
    context = open_context(Home(root))
    fleet = FakeWorkers()
    with pytest.MonkeyPatch.context() as patch:
        fleet.install(patch)
        patch.setattr(machine, "available_memory", lambda: PLENTY)
        endpoints.create(context, EndpointSpec(name="first"))
        spec = DeploymentSpec(name="one", endpoint_name="first", model=MODEL, gate=False)
        deployments.create(context, spec)
        for _ in range(4):
            tasks.tick(context)
            reconcile_deployments.tick(context)
            fleet.work()
        endpoints.delete(context, "first")
        fleet.stop()
        for _ in range(2):
            reconcile_deployments.remove_deleted(context)
    context.database.close()
    return root
