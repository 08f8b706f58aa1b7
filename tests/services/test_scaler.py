"""The tick that writes `wanted`, from load.json and rows."""

from __future__ import annotations

from typing import Any

import pytest

from phoundry.files import write_json
from phoundry.services.context import Context, history
from phoundry.services.reconcile import load as reports
from phoundry.services.reconcile.load import Load, Watch
from phoundry.services.reconcile.scaling import Scaler
from phoundry.store.tables import DeploymentRow, ReplicaRow
from tests.services.fake_workers import PID, FakeWorkers

START = 1_000_000.0
TO_ZERO = {
    "type": "target_utilization",
    "min_instances": 0,
    "max_instances": 3,
    "target_utilization_percentage": 100,
    "idle_time_before_scale_down": 10,
}


class Bench:
    """A deployment faq/blue with slots for four, a clock, and a gateway that says what it is told
    to say."""

    def __init__(self, context: Context, fleet: FakeWorkers) -> None:
        self.context = context
        self.now = START
        self.scaler = Scaler(clock=lambda: self.now)
        fleet.start(context.home.routes.parent, "phoundry.serving.gateway", {})

    def deploy(self, scale: dict[str, Any] | None, wanted: int = 1, **values: Any) -> None:
        spec = {
            "engine": "llama.cpp",
            "instance_count": 1,
            "request_settings": {"max_concurrent_requests_per_instance": 4},
            "scale_settings": scale,
        }
        fixed = {"endpoint": "faq", "name": "blue", "state": "Succeeded", "wanted": wanted}
        with self.context.database.begin() as session:
            row = DeploymentRow(**fixed | {"spec": spec} | values)
            session.add(row)

    def replicas(self, *states: str) -> None:
        with self.context.database.begin() as session:
            session.query(ReplicaRow).delete()
            for number, state in enumerate(states):
                session.add(
                    ReplicaRow(
                        endpoint="faq",
                        deployment="blue",
                        number=number,
                        revision=1,
                        state=state,
                        run_dir="",
                        token="",
                    )
                )

    def told(
        self, running: int = 0, waiting: int = 0, *, wanted: bool = False, **late: Any
    ) -> None:
        values = {"running": running, "waiting": waiting, "last_request": self.now}
        calls = ["faq/blue"] if wanted else []
        told = {"time": self.now, "deployments": {"faq/blue": values}, "wanted": calls}
        write_json(reports.path(self.context), told | late)

    def tick(self, seconds: float = 1.0) -> int:
        self.now += seconds
        self.scaler.tick(self.context)
        with self.context.database.begin() as session:
            return session.query(DeploymentRow).one().wanted

    def scaled(self) -> list[str]:
        with self.context.database.begin() as session:
            found = history(session, self.context, "deployment/faq/blue")
            return [event.message for event in found if event.kind == "scaled"]


@pytest.fixture
def bench(context: Context, fleet: FakeWorkers) -> Bench:
    return Bench(context, fleet)


def test_from_sleep_to_many_and_back(bench: Bench) -> None:
    bench.deploy(TO_ZERO, wanted=0)
    assert bench.tick() == 0
    assert bench.scaler.asleep == {"faq/blue"}
    assert not bench.scaler.called(bench.context)
    bench.told(wanted=True)
    assert bench.scaler.called(bench.context)
    assert bench.tick(0.05) == 1, "a call waits for no polling interval"
    assert bench.scaler.asleep == frozenset()
    bench.replicas("ready")
    bench.told(4, 6)
    assert bench.tick(0.1) == 3, "at once where requests wait, as many as are asked for"
    bench.replicas("ready", "ready", "ready")
    bench.told(1)
    found: list[int] = []
    for _ in range(40):
        found.append(bench.tick())
        bench.told(0)
    assert found == [3] * 10 + [2] * 11 + [1] * 19, "a step each idle time, and the last stays"
    quiet = START + 1000
    bench.now = quiet
    assert [bench.tick() for _ in range(10)][-1] == 0
    assert bench.scaler.asleep == {"faq/blue"}
    messages = bench.scaled()
    assert messages[0] == "From 0 to 1 replica: a request came."
    assert messages[1] == "From 1 to 3 replicas: 4 requests run and 6 wait."
    assert messages[2].startswith("From 3 to 2 replicas: ")
    assert "the next one wakes it" in messages[-1]
    assert len(messages) == 5


def test_without_a_rule_it_is_instance_count(bench: Bench) -> None:
    bench.deploy(None, wanted=3)
    bench.told(100, 100)
    assert bench.tick() == 1
    assert bench.scaled() == ["From 3 to 1 replica: as instance_count says."]


@pytest.mark.parametrize("state", ["Creating", "Failed", "Deleting"])
def test_what_does_not_serve_is_left_alone(bench: Bench, state: str) -> None:
    bench.deploy(TO_ZERO, wanted=2, state=state)
    assert [bench.tick(100) for _ in range(3)] == [2, 2, 2]


def test_what_waits_for_its_gate_does_not_fall_asleep(bench: Bench) -> None:
    bench.deploy(TO_ZERO, gate="pending")
    assert [bench.tick(100) for _ in range(3)] == [1, 1, 1]


def test_an_update_of_a_sleeping_one_has_to_show_that_it_answers(bench: Bench) -> None:
    bench.deploy(TO_ZERO, wanted=0, state="Updating")
    assert bench.tick() == 1
    assert bench.scaled() == ["From 0 to 1 replica: it has to show that it answers."]


def test_one_conversation_at_a_time_of_the_reference_engine(bench: Bench) -> None:
    bench.deploy(TO_ZERO)
    with bench.context.database.begin() as session:
        row = session.query(DeploymentRow).one()
        row.spec = row.spec | {"engine": "transformers"}
    bench.told(2)
    assert bench.tick() == 2


def test_a_look_waits_for_the_polling_interval(bench: Bench) -> None:
    bench.deploy(TO_ZERO | {"polling_interval": 30})
    assert bench.tick() == 1
    bench.told(8)
    assert bench.tick(20) == 1
    bench.told(8)
    assert bench.tick(10) == 2


def test_what_is_told_holds_while_the_gateway_that_told_it_lives(
    bench: Bench, fleet: FakeWorkers
) -> None:
    folder = bench.context.home.routes.parent
    nothing = Load(0, 0, START)
    assert reports.read(bench.context) == reports.Report(), "it never said anything"
    bench.told(3, 2, wanted=True)
    assert reports.read(bench.context, now=START).of("faq/blue") == Load(3, 2, START)
    late = reports.read(bench.context, now=START + 3600)
    assert late.of("faq/blue") == Load(3, 2, START), "a long answer is no silence"
    assert late.wanted == frozenset(), "who waits calls again and again"
    write_json(folder / "process.json", {"pid": 1, "create_time": START + 1})
    assert reports.read(bench.context, now=START + 1).of("faq/blue") == nothing, "another gateway"
    write_json(folder / "process.json", {"pid": 1, "create_time": START - 1})
    assert reports.read(bench.context, now=START).of("faq/blue") == Load(3, 2, START)
    fleet.kill(folder)
    assert reports.read(bench.context, now=START).of("faq/blue") == nothing


def test_what_is_told_holds_though_the_clock_was_set_back(bench: Bench, fleet: FakeWorkers) -> None:
    folder = bench.context.home.routes.parent
    write_json(folder / "process.json", {"pid": PID, "create_time": START + 3600})
    bench.told(3, 2, wanted=True, pid=PID)
    said = reports.read(bench.context, now=START)
    assert (said.of("faq/blue").in_flight, said.wanted) == (5, {"faq/blue"})
    bench.told(3, 2, pid=PID + 1)
    assert reports.read(bench.context, now=START).of("faq/blue").in_flight == 0, "another gateway"


def test_one_that_is_called_has_a_request_even_where_none_is_counted(bench: Bench) -> None:
    bench.told(wanted=True)
    assert reports.read(bench.context, now=START).of("faq/blue").in_flight == 1


def test_a_replaced_file_is_seen_once(bench: Bench) -> None:
    watch = Watch(reports.path(bench.context))
    assert not watch.changed()
    bench.told(1)
    assert [watch.changed(), watch.changed()] == [True, False]
    bench.told(1)
    assert watch.changed()
