"""Several replicas of a deployment, and revisions that follow one another."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from phoundry.compute import machine, workers
from phoundry.errors import Conflict, InvalidInput, NotFound
from phoundry.files import read_json, write_json
from phoundry.services import defaults, deployments, endpoints, replicas, routing, status
from phoundry.services.context import Context, now
from phoundry.services.reconcile import deployments as reconcile
from phoundry.services.reconcile import pace
from phoundry.services.reconcile import replicas as moving
from phoundry.services.reconcile import tasks as reconcile_tasks
from phoundry.serving.gateway.routes import DeploymentRoute, load_routes
from phoundry.specs.deployment import Deployment, DeploymentSpec, DeploymentUpdate
from phoundry.specs.endpoint import EndpointSpec, EndpointUpdate
from phoundry.store.tables import DeploymentRow, EndpointRow, ReplicaRow
from tests.services.fake_workers import MODEL, FakeWorkers

OTHER = "smollm2-360m-instruct"


class Blue:
    """The deployment faq/blue, and what happens to it."""

    def __init__(self, context: Context, fleet: FakeWorkers) -> None:
        self.context, self.fleet = context, fleet
        endpoints.create(context, EndpointSpec(name="faq"))

    def create(self, count: int = 1, **given: Any) -> Blue:
        values = {"name": "blue", "endpoint_name": "faq", "model": MODEL, "gate": False, **given}
        spec = DeploymentSpec.model_validate({**values, "instance_count": count})
        deployments.create(self.context, spec)
        self.advance()
        return self

    def tick(self, times: int = 1) -> Deployment:
        for _ in range(times):
            reconcile_tasks.tick(self.context)
            reconcile.tick(self.context)
            routing.publish(self.context, wait=False)
        return self.show()

    def advance(self, rounds: int = 5) -> Deployment:
        """Workers do their work, and replicas that were told to end do so."""
        for _ in range(rounds):
            self.tick()
            self.fleet.stop()
            self.fleet.work()
        return self.tick()

    def show(self) -> Deployment:
        return deployments.show(self.context, "faq", "blue")

    def update(self, **given: Any) -> Deployment:
        change = DeploymentUpdate.model_validate(given)
        return deployments.update(self.context, "faq", "blue", change)

    def route(self) -> DeploymentRoute:
        return load_routes(self.context.home.routes).endpoints["faq"].deployments["blue"]

    def change(self, **values: Any) -> None:
        """What other parts of the reconciler write."""
        with self.context.database.begin() as session:
            row = session.query(DeploymentRow).one()
            for key, value in values.items():
                setattr(row, key, value)

    def states(self) -> list[tuple[int, int, str]]:
        return [(each.number, each.revision, each.state) for each in self.show().replicas]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.show().events]


@pytest.fixture
def blue(context: Context, fleet: FakeWorkers) -> Blue:
    return Blue(context, fleet)


def models(folders: Iterable[Path], fleet: FakeWorkers) -> list[str]:
    """Which model each of these replicas serves, as its checkpoint's folder says."""
    names = [Path(fleet.running[folder].spec["tokenizer_dir"]).name for folder in folders]
    return [OTHER if "360m" in name.lower() else MODEL for name in names]


# Several at once


def test_two_processes_share_a_deployment(blue: Blue, fleet: FakeWorkers) -> None:
    shown = blue.create(2).show()
    assert (shown.provisioning_state, shown.ready_replicas, shown.instance_count) == (
        "Succeeded",
        2,
        2,
    )
    assert blue.states() == [(0, 1, "ready"), (1, 1, "ready")]
    first, second = blue.route().replicas
    assert (first.url != second.url, first.token != second.token) == (True, True)
    told = [fleet.running[folder].spec["token"] for folder in fleet.replicas()]
    assert told == [first.token, second.token]
    names = {process.name for process in status.show(blue.context).processes}
    assert names == {"faq/blue", "faq/blue/1"}
    assert not pace.of(blue.context).under_way


def test_one_of_two_crashes_and_the_other_serves_on(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(2)
    first, second = fleet.replicas()
    starts = len(fleet.starts)
    fleet.kill(first)
    shown = blue.tick()
    assert (shown.provisioning_state, shown.ready_replicas, shown.restarts) == ("Succeeded", 1, 1)
    assert shown.error is not None
    assert "ended without a word" in shown.error["message"]
    assert len(blue.route().replicas) == 1
    assert pace.of(blue.context).under_way
    shown = blue.advance(3)
    assert (shown.ready_replicas, shown.error) == (2, None)
    assert [start.folder for start in fleet.starts[starts:]] == [first]
    assert second in fleet.running


def test_one_that_is_given_up_fails_only_itself(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(2)
    for _ in range(moving.MAX_FAILURES):
        fleet.kill(max(fleet.replicas(), key=str))
        blue.tick()
        with blue.context.database.begin() as session:
            for row in session.query(ReplicaRow):
                row.retry_at = now()
        blue.advance(2)
    assert blue.states() == [(0, 1, "ready"), (1, 1, "failed")]
    assert blue.show().provisioning_state == "Succeeded"
    deployments.retry(blue.context, "faq", "blue")
    assert blue.advance(2).ready_replicas == 2


def test_more_and_fewer(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(1)
    assert blue.update(instance_count=3).provisioning_state == "Updating"
    assert blue.advance().provisioning_state == "Succeeded"
    assert (blue.show().ready_replicas, blue.show().revision) == (3, 1)
    blue.update(instance_count=1)
    assert blue.advance().provisioning_state == "Succeeded"
    assert blue.states() == [(0, 1, "ready")]  # the newest ended first
    assert len(fleet.replicas()) == 1


def test_a_draining_one_is_told_to_end_once_the_gateway_knows(
    blue: Blue, fleet: FakeWorkers
) -> None:
    blue.create(2)
    _, second = fleet.replicas()
    gateway = blue.context.home.routes.parent
    workers.start(gateway, "phoundry.serving.gateway", {})
    generation = read_json(blue.context.home.routes)["generation"]
    write_json(gateway / "loaded.json", {"generation": generation})
    blue.update(instance_count=1)
    blue.tick(3)
    assert len(blue.route().replicas) == 1
    assert second not in fleet.terminated  # the gateway may still send it something
    assert blue.states()[1] == (1, 1, "draining")
    write_json(gateway / "loaded.json", {"generation": generation + 1})
    blue.tick()
    assert second in fleet.terminated
    fleet.stop()
    blue.tick()
    assert (blue.states(), second.exists()) == ([(0, 1, "ready")], False)


def test_a_gateway_that_takes_nothing_in_does_not_hold_it_up_for_ever(
    blue: Blue, fleet: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    blue.create(2)
    workers.start(blue.context.home.routes.parent, "phoundry.serving.gateway", {})
    blue.update(instance_count=1)
    blue.tick(2)
    assert fleet.terminated == []
    monkeypatch.setattr(moving, "UNROUTED", timedelta(0))
    blue.tick()
    assert len(fleet.terminated) == 1


def test_the_time_to_end_counts_from_when_it_was_told(blue: Blue, fleet: FakeWorkers) -> None:
    """The control plane was away for an hour after it had decided to drain."""
    blue.create(2)
    _, second = fleet.replicas()
    blue.update(instance_count=1)
    hour = timedelta(hours=1)
    with blue.context.database.begin() as session:
        row = session.query(ReplicaRow).filter_by(number=1).one()
        row.state, row.stopping_since = "draining", now() - hour
    blue.tick(2)
    assert (second in fleet.running, second in fleet.terminated) == (True, True)
    with blue.context.database.begin() as session:
        session.query(ReplicaRow).filter_by(number=1).one().retry_at = now() - hour
    blue.tick()
    assert second not in fleet.running


def test_it_sleeps_and_wakes(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(1)
    blue.change(wanted=0)  # as scaling decides
    blue.advance()
    assert (fleet.replicas(), blue.route().replicas, blue.route().asleep) == ([], [], True)
    assert blue.show().provisioning_state == "Succeeded"
    assert not pace.of(blue.context).under_way
    blue.change(wanted=1)
    blue.advance(2)
    assert (len(blue.route().replicas), blue.route().asleep) == (1, False)


def test_bounds_of_the_load_hold_at_once(blue: Blue, fleet: FakeWorkers) -> None:
    scale = {"type": "target_utilization", "min_instances": 0, "max_instances": 4}
    blue.create(6, scale_settings=scale)
    assert blue.show().ready_replicas == 4
    blue.update(scale_settings={**scale, "max_instances": 2})
    assert blue.advance().ready_replicas == 2
    assert blue.show().scale_settings is not None
    blue.update(scale_settings=None)
    assert blue.advance().ready_replicas == 6


def test_one_that_hangs_is_ended_and_started_again(
    blue: Blue, fleet: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    blue.create(1)
    (folder,) = fleet.replicas()
    with blue.context.database.begin() as session:
        row = session.query(ReplicaRow).one()
        moving.restart(session, blue.context, row, "It did not answer its liveness probe.")
    assert folder in fleet.terminated
    shown = blue.tick(3)
    assert shown.error is not None
    assert "liveness" in shown.error["message"]
    assert folder in fleet.running  # it hangs: it does not hear
    monkeypatch.setattr(moving, "HANGING", timedelta(0))
    blue.tick()
    assert folder not in fleet.running
    monkeypatch.undo()
    fleet.install(monkeypatch)
    assert blue.advance(3).ready_replicas == 1


@pytest.mark.parametrize("lost", ["waiting", "starting"])
def test_a_control_plane_that_was_killed_finds_its_replicas(
    blue: Blue, fleet: FakeWorkers, lost: str
) -> None:
    """Started before its row said so, or ready before its row said so: adopted, not doubled."""
    blue.create(2)
    starts = len(fleet.starts)
    with blue.context.database.begin() as session:
        for row in session.query(ReplicaRow):
            row.state = lost
    shown = blue.tick(2)
    assert (shown.ready_replicas, len(fleet.starts)) == (2, starts)


def test_a_fault_of_ours_takes_no_healthy_replica_out(
    blue: Blue, fleet: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    blue.create(2)

    def no_files(run_dir: Path) -> workers.WorkerState:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(workers, "inspect", no_files)
        reconcile.tick(blue.context)
    assert blue.states() == [(0, 1, "ready"), (1, 1, "ready")]

    def full(row: DeploymentRow, replica: ReplicaRow) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(defaults, "deliver", full)
        reconcile.tick(blue.context)
    assert blue.tick().ready_replicas == 2
    assert "crashed" not in blue.kinds()


def test_one_that_runs_though_it_was_held_to_have_crashed_is_adopted(
    blue: Blue, fleet: FakeWorkers
) -> None:
    blue.create(2)
    starts = len(fleet.starts)
    with blue.context.database.begin() as session:
        for row in session.query(ReplicaRow):
            row.state = "crashed"
    assert (blue.tick(2).ready_replicas, len(fleet.starts)) == (2, starts)


def test_a_start_that_was_cut_off_is_adopted_where_memory_is_tight(
    blue: Blue, fleet: FakeWorkers, memory: dict[str, int]
) -> None:
    blue.create(1)
    memory.update(machine=needed(blue) * 3 // 2, each=needed(blue))
    with blue.context.database.begin() as session:
        session.query(ReplicaRow).one().state = "waiting"
    shown = blue.tick(2)
    assert (shown.ready_replicas, shown.error) == (1, None)


def test_down_and_up(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(2)
    reconcile.stop_all(blue.context)
    fleet.stop()
    assert fleet.replicas() == []
    assert blue.advance(3).ready_replicas == 2
    assert blue.show().restarts == 0


def test_its_log_by_number(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(2)
    for number, folder in enumerate(fleet.replicas()):
        (folder / "log.txt").write_text(f"I am {number}\n")
    read = deployments.logs
    assert read(blue.context, "faq", "blue").text == "I am 0\n"
    assert read(blue.context, "faq", "blue", replica=1).text == "I am 1\n"
    with pytest.raises(NotFound, match=r"no replica 7.*It has: 0, 1"):
        read(blue.context, "faq", "blue", replica=7)


# Revisions


def test_the_old_one_serves_until_the_new_one_answers(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(2)
    before = blue.route().replicas
    shown = blue.update(model=OTHER)
    assert (shown.provisioning_state, shown.revision, shown.model) == ("Updating", 2, OTHER)
    blue.tick()
    fleet.work()  # the checkpoint
    blue.tick()
    fleet.work()  # the GGUF
    blue.tick(2)
    assert blue.states() == [(0, 1, "ready"), (1, 1, "ready"), (2, 2, "starting")]
    assert blue.route().replicas == before
    fleet.answer(fleet.replicas()[2])
    blue.tick(3)
    assert len(blue.route().replicas) == 2  # the new one, and one of the old ones
    assert blue.advance(6).provisioning_state == "Succeeded"
    assert [revision for _, revision, _ in blue.states()] == [2, 2]
    assert models(fleet.replicas(), fleet) == [OTHER, OTHER]
    assert not {each.url for each in before} & {each.url for each in blue.route().replicas}
    for kind in ("revision", "in_force", "draining", "drained", "updated"):
        assert kind in blue.kinds()


def test_another_count_comes_with_the_revision(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(1)
    blue.update(context_length=512, instance_count=3)
    blue.tick(2)
    assert blue.states() == [(0, 1, "ready"), (1, 2, "starting")]
    assert blue.advance(6).ready_replicas == 3


def test_one_that_fails_leaves_the_old_one_alone(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(1)
    (old,) = fleet.replicas()
    blue.update(model=OTHER, defaults={"temperature": 0.5})
    blue.tick()
    fleet.end(fleet.one("materialize"), "failed")
    shown = blue.advance(3)
    assert (shown.provisioning_state, shown.revision, shown.model) == ("Succeeded", 1, MODEL)
    assert shown.error is not None
    assert "Revision 2 failed, and revision 1 goes on serving: It failed." in shown.error["message"]
    assert fleet.replicas() == [old]
    assert blue.states() == [(0, 1, "ready")]
    shown = blue.update(model=OTHER)
    assert (shown.revision, shown.error) == (3, None)
    assert blue.advance(8).model == OTHER


def test_the_gate_holds_a_revision_and_lets_it_through(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(1)
    blue.update(context_length=512, gate=True)
    blue.advance(3)
    assert (blue.show().gate, blue.states()) == ("pending", [(0, 1, "ready"), (1, 2, "ready")])
    with blue.context.database.begin() as session:
        (gated,) = replicas.ready(session, blue.context, session.query(DeploymentRow).one())
        assert (gated.number, gated.revision) == (1, 2)
    assert len(blue.route().replicas) == 1
    blue.change(gate="failed")
    shown = blue.advance(2)
    assert (shown.gate, shown.revision) == ("skipped", 1)
    assert shown.error is not None
    assert "--parity" in shown.error["remedy"]
    blue.update(context_length=512, gate=True)
    blue.advance(3)
    assert blue.show().gate == "pending"
    blue.update(gate=False)
    shown = blue.advance()
    assert (shown.gate, shown.revision, shown.provisioning_state) == ("skipped", 3, "Succeeded")


def test_back_to_the_revision_before(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(1)
    with pytest.raises(Conflict, match="no revision before 1"):
        deployments.roll_back(blue.context, "faq", "blue")
    blue.update(quantization="Q4_0", instance_count=2)
    blue.advance(8)
    back = deployments.roll_back(blue.context, "faq", "blue")
    assert (back.revision, back.quantization, back.instance_count) == (3, "Q8_0", 2)
    shown = blue.advance(8)
    assert (shown.provisioning_state, shown.ready_replicas) == ("Succeeded", 2)
    blue.update(context_length=256)
    blue.tick()
    back = deployments.roll_back(blue.context, "faq", "blue")  # while it is being rolled out
    assert (back.revision, back.context_length) == (3, None)
    shown = blue.advance()
    assert (shown.provisioning_state, shown.error) == ("Succeeded", None)
    assert {revision for _, revision, _ in blue.states()} == {3}


def test_what_needs_no_process_is_in_force_at_once(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(1)
    running = fleet.replicas()
    shown = blue.update(
        request_settings={"request_timeout_ms": 1000},
        liveness_probe={"period": 3},
        data_collector={"sampling_rate": 0.5},
        description="d",
    )
    assert (shown.revision, shown.provisioning_state, shown.description) == (1, "Succeeded", "d")
    assert shown.liveness_probe.period == 3
    blue.tick()
    route = blue.route()
    assert (route.timeout_ms, route.max_concurrent) == (1000, 8)
    blue.update(request_settings={"max_concurrent_requests_per_instance": 2})
    blue.tick()
    assert (blue.route().max_concurrent, blue.route().timeout_ms) == (2, 1000)
    assert (blue.show().revision, fleet.replicas()) == (1, running)
    blue.update(request_settings={"max_concurrent_requests_per_instance": 3})
    assert blue.show().revision == 2  # more than the process decodes together


def test_what_is_in_force_at_once_outlives_a_revision_that_fails(
    blue: Blue, fleet: FakeWorkers
) -> None:
    blue.create(1)
    blue.update(model=OTHER)
    blue.update(description="new words")
    blue.tick()
    fleet.end(fleet.one("materialize"), "failed")
    shown = blue.advance(2)
    assert (shown.revision, shown.model, shown.description) == (1, MODEL, "new words")


def test_a_second_update_replaces_the_one_that_is_under_way(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(1)
    blue.update(model=OTHER)
    blue.tick()
    blue.update(model=MODEL, context_length=512)
    shown = blue.advance(6)
    assert (shown.revision, shown.model, shown.context_length) == (3, MODEL, 512)
    assert [revision for _, revision, _ in blue.states()] == [3]


def test_what_never_served_is_simply_replaced(blue: Blue, fleet: FakeWorkers) -> None:
    values = {"name": "blue", "endpoint_name": "faq", "model": OTHER, "gate": False}
    deployments.create(blue.context, DeploymentSpec.model_validate(values))
    blue.tick()
    fleet.end(fleet.one("materialize"), "failed")
    assert blue.tick(2).provisioning_state == "Failed"
    shown = blue.update(model=MODEL)
    assert (shown.provisioning_state, shown.error) == ("Creating", None)
    assert blue.advance().provisioning_state == "Succeeded"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"engine": "transformers", "quantization": "Q4_0"}, "quantization Q4_0"),
        ({"context_length": 64, "defaults": {"max_tokens": 65}}, "max_tokens is 65"),
    ],
)
def test_what_does_not_go_together_changes_nothing(
    blue: Blue, fleet: FakeWorkers, change: dict[str, Any], said: str
) -> None:
    before = blue.create(1).show()
    with pytest.raises(InvalidInput, match=said):
        blue.update(**change)
    assert blue.show() == before


def test_another_engine_forgets_the_quantisation(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(1, quantization="Q4_0")
    shown = blue.update(engine="transformers")
    assert (shown.engine, shown.quantization, shown.revision) == ("transformers", None, 2)


def test_variables_that_nothing_reads_are_not_kept(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(1, environment_variables={"KEY": "canary"})
    assert "KEY" in blue.show().notices[0]
    with blue.context.database.begin() as session:
        row = session.query(DeploymentRow).one()
        assert "canary" not in str((row.spec, row.notices))


# Memory


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, fleet: FakeWorkers) -> dict[str, int]:
    """Bytes of the machine, and what each replica takes of them as it runs."""
    sizes = {"machine": 10**12, "each": 0}

    def free() -> int:
        return sizes["machine"] - sizes["each"] * len(fleet.replicas())

    monkeypatch.setattr(machine, "available_memory", free)

    def private(pid: int) -> int:
        return sizes["each"]

    monkeypatch.setattr(workers, "private_bytes", private)
    return sizes


def needed(blue: Blue) -> int:
    return int(next(iter(blue.fleet.running.values())).spec["memory_bytes"])


def test_where_two_do_not_fit_one_gives_way_to_the_other(
    blue: Blue, fleet: FakeWorkers, memory: dict[str, int]
) -> None:
    blue.create(1)
    each = needed(blue)
    memory.update(machine=each + each // 2, each=each)
    (old,) = fleet.replicas()
    blue.update(context_length=2048)
    blue.tick()
    assert blue.states() == [(0, 1, "draining"), (1, 2, "waiting")]
    assert "do not fit into memory together" in blue.show().notices[0]
    shown = blue.advance()
    assert (shown.provisioning_state, shown.revision) == ("Succeeded", 2)
    assert old not in fleet.running
    assert len(fleet.replicas()) == 1


def test_what_does_not_even_fit_alone_ends_nothing(
    blue: Blue, fleet: FakeWorkers, memory: dict[str, int]
) -> None:
    blue.create(1, context_length=512)
    memory.update(machine=needed(blue) + 1, each=needed(blue))
    old = fleet.replicas()
    blue.update(context_length=8192)
    shown = blue.advance(3)
    assert (shown.provisioning_state, shown.revision) == ("Succeeded", 1)
    assert shown.error is not None
    assert shown.error["code"] == "InsufficientResources"
    assert (fleet.replicas(), fleet.terminated) == (old, [])


def test_a_full_disk_ends_nothing_that_serves(
    blue: Blue, fleet: FakeWorkers, memory: dict[str, int]
) -> None:
    blue.create(1)
    memory.update(machine=needed(blue) * 10, each=needed(blue))
    old = fleet.replicas()
    fleet.refusal = OSError(errno.ENOSPC, "No space left on device")
    blue.update(context_length=2048)
    shown = blue.tick(3)
    assert (fleet.replicas(), fleet.terminated, shown.revision) == (old, [], 1)
    assert shown.error is not None
    assert "disk" in shown.error["message"]
    assert shown.notices == []


def test_what_gave_way_comes_back_when_the_other_fails(
    blue: Blue, fleet: FakeWorkers, memory: dict[str, int]
) -> None:
    blue.create(1)
    memory.update(machine=needed(blue) * 3 // 2, each=needed(blue))
    blue.update(context_length=2048)
    blue.tick(2)
    fleet.stop()
    blue.tick(2)
    assert blue.states() == [(1, 2, "starting")]
    with blue.context.database.begin() as session:
        session.query(ReplicaRow).one().failures = moving.MAX_FAILURES - 1
    fleet.end(fleet.replicas()[0], "failed")
    shown = blue.advance(4)
    assert (shown.revision, shown.ready_replicas) == (1, 1)
    assert shown.error is not None
    assert "Revision 2 failed" in shown.error["message"]


def test_what_others_are_about_to_take_is_not_free(
    blue: Blue, fleet: FakeWorkers, memory: dict[str, int]
) -> None:
    """Three are asked for at once, and the machine holds two: the third does not start blindly."""
    blue.create(1)
    memory["machine"] = needed(blue) * 3 // 2
    blue.update(instance_count=3)
    blue.tick(2)
    assert [state for _, _, state in blue.states()].count("starting") == 1
    assert "InsufficientResources" in str(blue.show().error)


# Deletion


def test_a_mirror_is_not_deleted(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(1)
    with blue.context.database.begin() as session:
        row = session.query(EndpointRow).one()
        row.traffic, row.mirror = {}, {"blue": 10}
    with pytest.raises(Conflict, match=r"10 % of the requests of 'faq' are copied"):
        deployments.delete(blue.context, "faq", "blue")


def test_all_its_processes_end_with_it(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(3)
    endpoints.update(blue.context, "faq", EndpointUpdate(traffic={}))
    folders = fleet.replicas()
    deployments.delete(blue.context, "faq", "blue")
    assert fleet.terminated == folders
    fleet.kill(folders[0])
    reconcile.tick(blue.context)
    assert [each.name for each in deployments.listing(blue.context, "faq")] == ["blue"]
    fleet.stop()
    reconcile.tick(blue.context)
    assert deployments.listing(blue.context, "faq") == []
    assert not any(folder.exists() for folder in folders)


def test_a_deletion_leaves_requests_in_flight_their_time(blue: Blue, fleet: FakeWorkers) -> None:
    blue.create(1, request_settings={"request_timeout_ms": 60_000})
    endpoints.update(blue.context, "faq", EndpointUpdate(traffic={}))
    (folder,) = fleet.replicas()
    gateway = blue.context.home.routes.parent
    workers.start(gateway, "phoundry.serving.gateway", {})
    deployments.delete(blue.context, "faq", "blue")
    reconcile.tick(blue.context)
    assert folder not in fleet.terminated  # the gateway may still send it something
    routing.publish(blue.context, wait=False)
    generation = read_json(blue.context.home.routes)["generation"]
    write_json(gateway / "loaded.json", {"generation": generation})
    reconcile.tick(blue.context)
    assert folder in fleet.terminated
    for ago, runs in ((20, True), (80, False)):
        with blue.context.database.begin() as session:
            session.query(ReplicaRow).one().retry_at = now() - timedelta(seconds=ago)
            session.query(DeploymentRow).one().stopping_since = now() - timedelta(seconds=ago)
        reconcile.tick(blue.context)
        assert (folder in fleet.running) is runs
