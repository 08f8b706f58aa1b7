"""The deploy gate: who gets traffic, what is remembered, and what happens when it cannot run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import Conflict, Unavailable
from phoundry.services import deployments, endpoints, parity, routing
from phoundry.services.context import Context
from phoundry.services.reconcile import deployments as reconcile
from phoundry.services.reconcile import gate, pace
from phoundry.services.reconcile import tasks as reconcile_tasks
from phoundry.serving.gateway.routes import EndpointRoute, load_routes
from phoundry.specs.deployment import DeploymentSpec, DeploymentUpdate
from phoundry.specs.endpoint import EndpointSpec, EndpointUpdate
from phoundry.store.tables import DeploymentRow
from tests.services.fake_workers import MODEL, FakeWorkers


class Faq:
    """The endpoint faq, its deployments, and time that passes."""

    def __init__(self, context: Context, fleet: FakeWorkers) -> None:
        self.context, self.fleet = context, fleet
        endpoints.create(context, EndpointSpec(name="faq"))

    def create(self, name: str = "blue", **given: Any) -> None:
        spec = {"name": name, "endpoint_name": "faq", "model": MODEL, **given}
        deployments.create(self.context, DeploymentSpec.model_validate(spec))

    def tick(self) -> None:
        reconcile_tasks.tick(self.context)
        reconcile.tick(self.context)
        gate.tick(self.context)
        routing.publish(self.context, wait=False)

    def advance(self, rounds: int = 7) -> None:
        for _ in range(rounds):
            self.tick()
            self.fleet.stop()
            self.fleet.work()
        self.tick()

    def until_asked(self) -> Path:
        """Until the gate's worker runs; its folder."""
        for _ in range(8):
            self.tick()
            for folder, started in list(self.fleet.running.items()):
                if started.module == gate.MODULE:
                    return folder
            self.fleet.work()
        raise AssertionError("the gate was not asked")

    def gate(self, name: str = "blue") -> str:
        return deployments.show(self.context, "faq", name).gate

    def traffic(self) -> dict[str, int]:
        return endpoints.show(self.context, "faq").traffic

    def route(self) -> EndpointRoute:
        return load_routes(self.context.home.routes).endpoints["faq"]

    def asked(self) -> int:
        return self.fleet.modules().count("serving.parity")


@pytest.fixture
def faq(context: Context, fleet: FakeWorkers) -> Faq:
    return Faq(context, fleet)


def test_the_first_deployment_gets_its_traffic_once_it_has_passed(faq: Faq) -> None:
    faq.create()
    faq.until_asked()
    assert (faq.gate(), faq.traffic()) == ("pending", {})
    assert faq.route().traffic == {}
    assert len(faq.route().deployments["blue"].replicas) == 1, "the pin header reaches it"
    assert pace.of(faq.context).under_way
    faq.advance(1)
    assert (faq.gate(), faq.traffic(), faq.route().traffic) == (
        "passed",
        {"blue": 100},
        {"blue": 100},
    )
    assert not pace.of(faq.context).under_way
    shown = parity.show(faq.context, "faq", "blue")
    assert shown.report is not None
    assert shown.report.summary().endswith("191 of 192 tokens the same")


def test_who_hears_that_it_serves_is_served(faq: Faq, context: Context) -> None:
    calls: list[str] = []

    def publish() -> None:
        routing.publish(context, wait=False)
        calls.append(deployments.show(context, "faq", "blue").gate)
        raise Unavailable("The gateway hangs.")

    told = replace(context, publish=publish)
    faq.create()
    folder = faq.until_asked()
    assert deployments.show(told, "faq", "blue").gate == "pending"
    assert calls == []
    while faq.fleet.running.get(folder):
        faq.fleet.work()
    gate.tick(context)  # and the routing table has its turn later
    assert faq.route().traffic == {}
    assert deployments.show(told, "faq", "blue").settled
    assert calls == ["passed"]
    assert faq.route().traffic == {"blue": 100}


def test_one_that_fails_stays_without_traffic_and_says_why(faq: Faq) -> None:
    faq.fleet.faithful = False
    faq.create()
    faq.advance()
    shown = deployments.show(faq.context, "faq", "blue")
    assert (shown.gate, shown.provisioning_state, faq.traffic()) == ("failed", "Succeeded", {})
    told = next(event.message for event in shown.events if event.kind == "gate_failed")
    assert "token 3 of the answer: the engine says 'Paul'; the reference says 'Bill'" in told
    with pytest.raises(Conflict, match="does not answer as the model that was trained") as refusal:
        endpoints.update(faq.context, "faq", EndpointUpdate(traffic={"blue": 100}))
    assert "--no-gate" in str(refusal.value)
    assert not pace.of(faq.context).under_way
    assert faq.asked() == 1, "what failed is not asked again by itself"


def test_traffic_waits_for_the_gate(faq: Faq) -> None:
    faq.create(gate=False)
    faq.create("green")
    faq.until_asked()
    with pytest.raises(Conflict, match="'faq/green' has not passed the deploy gate yet"):
        endpoints.update(faq.context, "faq", EndpointUpdate(traffic={"blue": 90, "green": 10}))
    assert faq.traffic() == {"blue": 100}
    faq.advance(1)
    endpoints.update(faq.context, "faq", EndpointUpdate(traffic={"blue": 90, "green": 10}))
    faq.tick()
    assert faq.route().traffic == {"blue": 90, "green": 10}


def test_no_gate_is_let_through_and_recorded(faq: Faq) -> None:
    faq.create(gate=False)
    faq.advance()
    shown = deployments.show(faq.context, "faq", "blue")
    assert (shown.gate, faq.traffic(), faq.asked()) == ("skipped", {"blue": 100}, 0)
    assert endpoints.show(faq.context, "faq").gates == {"blue": "skipped"}
    assert "gate_skipped" in [event.kind for event in shown.events]


def test_a_gate_that_failed_can_be_let_through(faq: Faq) -> None:
    faq.fleet.faithful = False
    faq.create()
    faq.advance()
    deployments.update(faq.context, "faq", "blue", DeploymentUpdate(gate=False))
    assert (faq.gate(), faq.traffic()) == ("skipped", {"blue": 100})


def test_a_gate_that_failed_is_tried_again_when_asked(faq: Faq) -> None:
    faq.fleet.faithful = False
    faq.create()
    faq.advance()
    faq.fleet.faithful = True
    deployments.retry(faq.context, "faq", "blue")
    assert faq.gate() == "pending"
    faq.advance(3)
    assert (faq.gate(), faq.traffic(), faq.asked()) == ("passed", {"blue": 100}, 2)


def test_what_passed_before_passes_at_once(faq: Faq) -> None:
    faq.create()
    faq.advance()
    faq.create("green")
    faq.advance()
    assert (faq.gate("green"), faq.asked()) == ("passed", 1)
    faq.create("small", quantization="Q4_0")
    faq.advance()
    assert (faq.gate("small"), faq.asked()) == ("passed", 2), "another file is another question"


def test_one_is_proved_at_a_time(faq: Faq) -> None:
    faq.create("blue")
    faq.create("green", context_length=512)
    faq.until_asked()
    for _ in range(3):
        faq.tick()
    assert faq.asked() == 1
    faq.advance()
    assert (faq.asked(), faq.gate("blue"), faq.gate("green")) == (2, "passed", "passed")


def test_a_longer_context_is_asked_anew(faq: Faq) -> None:
    """In the shorter one, longer conversations were left out."""
    faq.create(context_length=512)
    faq.advance()
    faq.create("green", context_length=1024)
    faq.advance()
    assert (faq.gate("green"), faq.asked()) == ("passed", 2)


def test_a_change_of_the_tokenizer_is_asked_anew(faq: Faq) -> None:
    faq.create()
    faq.advance()
    (replica,) = [each for each in faq.fleet.starts if each.module.endswith("replica")]
    (Path(replica.spec["tokenizer_dir"]) / "chat_template.jinja").write_text("changed")
    faq.create("green")
    faq.advance()
    assert faq.asked() == 2


def test_a_gate_that_waits_reads_the_tokenizer_once(
    faq: Faq, monkeypatch: pytest.MonkeyPatch
) -> None:
    faq.create()
    faq.until_asked()

    def read(paths: Iterable[Path]) -> str:
        raise AssertionError(f"read again: {paths}")

    monkeypatch.setattr(parity, "sha256_files", read)
    faq.tick()
    assert faq.gate() == "pending"


def test_a_worker_that_is_killed_is_started_again_three_times(faq: Faq) -> None:
    faq.create()
    for _ in range(gate.ATTEMPTS):
        faq.fleet.kill(faq.until_asked())
    faq.tick()
    assert (faq.gate(), faq.asked()) == ("failed", gate.ATTEMPTS)
    error = parity.show(faq.context, "faq", "blue").error
    assert error is not None
    assert error["message"] == "The process of the deploy gate was killed."


def test_one_that_was_stopped_with_phoundry_goes_on(faq: Faq) -> None:
    faq.create()
    for _ in range(gate.ATTEMPTS + 1):
        faq.fleet.end(faq.until_asked(), "cancelled")
    faq.advance(2)
    assert faq.gate() == "passed"


def test_a_reference_that_is_missing_does_not_pass(faq: Faq) -> None:
    faq.create()
    faq.fleet.end(faq.until_asked(), "failed")
    faq.tick()
    assert faq.gate() == "failed"
    assert parity.show(faq.context, "faq", "blue").error is not None


def test_the_older_revision_serves_until_the_newer_has_passed(faq: Faq) -> None:
    faq.create()
    faq.advance()
    before = faq.route().deployments["blue"].replicas
    change = DeploymentUpdate(quantization="Q4_0")
    deployments.update(faq.context, "faq", "blue", change)
    faq.until_asked()
    assert faq.gate() == "pending"
    assert (faq.route().traffic, faq.route().deployments["blue"].replicas) == (
        {"blue": 100},
        before,
    )
    # Its share may change meanwhile: what serves has passed.
    endpoints.update(faq.context, "faq", EndpointUpdate(traffic={"blue": 100}))
    faq.advance(6)
    assert faq.gate() == "passed"
    assert faq.route().deployments["blue"].replicas != before


def test_a_revision_that_does_not_pass_is_taken_back(faq: Faq) -> None:
    faq.create()
    faq.advance()
    faq.fleet.faithful = False
    deployments.update(faq.context, "faq", "blue", DeploymentUpdate(quantization="Q4_0"))
    faq.advance()
    shown = deployments.show(faq.context, "faq", "blue")
    assert (shown.quantization, shown.gate, shown.provisioning_state) == (
        "Q8_0",
        "passed",
        "Succeeded",
    )
    assert faq.route().traffic == {"blue": 100}
    assert shown.error is not None
    assert "--parity" in shown.error["remedy"]
    report = parity.show(faq.context, "faq", "blue").report
    assert report is not None
    assert not report.passed


def test_a_gate_that_could_not_run_says_why_and_is_asked_again(faq: Faq) -> None:
    faq.create()
    faq.advance()
    change = DeploymentUpdate(quantization="Q4_0")
    deployments.update(faq.context, "faq", "blue", change)
    faq.fleet.end(faq.until_asked(), "failed")
    faq.advance(2)
    shown = deployments.show(faq.context, "faq", "blue")
    assert (shown.revision, shown.gate) == (1, "passed")
    assert shown.error is not None
    assert "It failed." in shown.error["message"]
    deployments.update(faq.context, "faq", "blue", change)  # once what failed is mended
    faq.advance(9)
    shown = deployments.show(faq.context, "faq", "blue")
    assert (shown.revision, shown.gate, shown.quantization) == (3, "passed", "Q4_0")


def test_the_first_deployment_gets_its_traffic_also_after_a_change(faq: Faq) -> None:
    faq.fleet.faithful = False
    faq.create()
    faq.advance()
    faq.fleet.faithful = True
    deployments.update(faq.context, "faq", "blue", DeploymentUpdate(quantization="Q4_0"))
    faq.advance(9)
    assert (faq.gate(), faq.traffic()) == ("passed", {"blue": 100})


def test_the_first_deployment_gets_its_traffic_with_a_revision_let_through(faq: Faq) -> None:
    faq.fleet.faithful = False
    faq.create()
    faq.advance()
    change = DeploymentUpdate(quantization="Q4_0", gate=False)
    deployments.update(faq.context, "faq", "blue", change)
    assert faq.traffic() == {}
    faq.advance(9)
    assert (faq.gate(), faq.traffic()) == ("skipped", {"blue": 100})


def test_traffic_that_was_taken_away_stays_away(faq: Faq) -> None:
    faq.create()
    faq.advance()
    endpoints.update(faq.context, "faq", EndpointUpdate(traffic={}))
    deployments.update(faq.context, "faq", "blue", DeploymentUpdate(quantization="Q4_0"))
    faq.advance(9)
    assert (faq.gate(), faq.traffic()) == ("passed", {})


def test_a_proof_that_nobody_waits_for_ends(faq: Faq) -> None:
    faq.create()
    folder = faq.until_asked()
    deployments.update(faq.context, "faq", "blue", DeploymentUpdate(gate=False))
    assert folder in faq.fleet.terminated


def test_a_deployment_that_goes_takes_its_proof_along(faq: Faq) -> None:
    faq.create()
    folder = faq.until_asked()
    deployments.delete(faq.context, "faq", "blue")
    faq.advance()
    assert folder not in faq.fleet.running
    assert not folder.exists()


def test_the_token_of_a_replica_is_told_in_a_private_file_alone(faq: Faq, context: Context) -> None:
    faq.create()
    faq.until_asked()
    (started,) = [each for each in faq.fleet.starts if each.module == gate.MODULE]
    with context.database.begin() as session:
        row = session.query(DeploymentRow).one()
        assert started.spec["token"] not in str(row.parity)
    assert started.spec["replica_url"].startswith("http://127.0.0.1:")
