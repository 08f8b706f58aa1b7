"""The whole journey over the real services, with workers that do what a test tells them."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from phoundry.errors import Conflict, PhoundryError
from phoundry.files import read_json, write_json
from phoundry.journey import journeys as walk
from phoundry.journey import steps
from phoundry.server.control_plane import stop_everything, tick
from phoundry.services import (
    connections,
    deployments,
    endpoints,
    jobs,
    journeys,
    models,
)
from phoundry.services.context import Context
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.journey import Journey, JourneySpec
from phoundry.specs.project import Project
from phoundry.store.tables import JobRow, JourneyRow, ModelRow, ReplicaRow
from phoundry.worker import StopReason
from tests.journey.conftest import kept
from tests.services.fake_workers import MODEL, FakeWorkers

NAME = "faq-bot"
MAKERS = [
    "models.materialize",
    "training",
    "models.register",
    "models.convert",
    "serving.replica",
    "serving.parity",
]


@pytest.fixture
def spec(context: Context, chats: bytes, tmp_path: Path) -> JourneySpec:
    asset = kept(context, NAME, chats)
    project = Project.model_validate(
        {"name": NAME, "data": f"{NAME}:{asset.version}", "model": MODEL, "flow": "chat"}
    )
    path = str(tmp_path / "flow")
    return JourneySpec(project=project, data=f"{NAME}:{asset.version}", flow_path=path)


def changed_to(spec: JourneySpec, **changes: Any) -> JourneySpec:
    """The same journey of a project with other keys."""
    project = Project.model_validate({**spec.project.canonical(), **changes})
    return spec.model_copy(update={"project": project})


def turn(context: Context) -> None:
    tick(context, "127.0.0.1", 7411)


def advance(context: Context, fleet: FakeWorkers) -> Journey:
    """Tick until the journey has ended; workers do their work after every tick."""
    for _ in range(30):
        turn(context)
        fleet.work()
        if (journey := journeys.show(context, NAME)).state != "running":
            return journey
    raise AssertionError(f"it does not end: {journeys.show(context, NAME)}")


def until(context: Context, fleet: FakeWorkers, module: str) -> Path:
    """Go on until a worker of this kind runs; its folder."""
    for _ in range(30):
        turn(context)
        if any(start.module == f"phoundry.{module}" for start in fleet.running.values()):
            return fleet.one(module)
        fleet.work()
    raise AssertionError(f"{module} is never started")


def states(journey: Journey) -> dict[str, str]:
    return {step.name: step.state for step in journey.steps}


def made(fleet: FakeWorkers) -> list[str]:
    """What was started, without the gateway."""
    return [module for module in fleet.modules() if module != "serving.gateway"]


def walked(context: Context, fleet: FakeWorkers, spec: JourneySpec) -> Journey:
    walk.start(context, spec)
    return advance(context, fleet)


def test_it_arrives_and_names_everything(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    journey = walked(context, fleet, spec)
    assert (journey.state, set(states(journey).values())) == ("done", {"done"})
    references = {step.name: step.reference for step in journey.steps}
    assert references["register"] == f"{NAME}:1"
    assert references["deploy"] == f"{NAME}/tuned-1"
    assert endpoints.show(context, NAME).traffic == {"tuned-1": 100}
    key = endpoints.keys(context, NAME).primaryKey
    assert connections.values(context, NAME).secrets["key"] == key
    assert (Path(str(spec.flow_path)) / "flow.dag.yaml").is_file()
    assert made(fleet) == MAKERS


def test_the_same_again_does_nothing_twice(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    walked(context, fleet, spec)
    key = endpoints.keys(context, NAME)
    assert walked(context, fleet, spec).state == "done"
    assert made(fleet) == MAKERS
    assert endpoints.keys(context, NAME) == key
    assert [model.version for model in models.listing(context)] == ["1"]


def test_asking_twice_at_once_follows_the_one_under_way(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    walk.start(context, spec)
    until(context, fleet, "training")
    assert states(walk.start(context, spec))["data"] == "done"
    assert advance(context, fleet).state == "done"
    assert made(fleet) == MAKERS


def test_what_was_removed_since_is_made_again(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    walked(context, fleet, spec)
    endpoints.delete(context, NAME)
    shutil.rmtree(str(spec.flow_path))
    walk.start(context, spec)  # at once: the old replica has not ended yet
    turn(context)
    assert journeys.show(context, NAME).state == "running"
    # Out of the table first, and told to end once the gateway has that in force.
    table = read_json(context.home.routes)
    loaded = {"generation": table["generation"]}
    write_json(context.home.routes.parent / "loaded.json", loaded)
    turn(context)
    fleet.stop()
    assert advance(context, fleet).state == "done"
    assert endpoints.show(context, NAME).traffic == {"tuned-1": 100}
    key = endpoints.keys(context, NAME).primaryKey
    assert connections.values(context, NAME).secrets["key"] == key
    assert (Path(str(spec.flow_path)) / "flow.dag.yaml").is_file()
    assert made(fleet) == [*MAKERS, "serving.replica"]


@pytest.mark.parametrize("module", MAKERS)
def test_down_and_up_at_any_step_goes_on(
    context: Context,
    fleet: FakeWorkers,
    spec: JourneySpec,
    module: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walk.start(context, spec)
    until(context, fleet, module)
    terminate = fleet.terminate

    def obey(run_dir: Path, reason: StopReason | None = None) -> bool:
        asked = terminate(run_dir, reason)
        fleet.stop()
        return asked

    monkeypatch.setattr("phoundry.compute.workers.terminate", obey)
    stop_everything(context)
    assert not fleet.running
    assert advance(context, fleet).state == "done"  # nobody had to ask again
    # The deploy gate asks a replica, which was stopped too.
    again = MAKERS[4:] if module == "serving.parity" else [module]
    assert sorted(made(fleet)) == sorted([*MAKERS, *again])


@pytest.mark.parametrize("how", ["failed", "killed"])
@pytest.mark.parametrize("module", MAKERS[:4])
def test_a_failed_step_is_told_once_and_tried_again_when_asked(
    context: Context, fleet: FakeWorkers, spec: JourneySpec, module: str, how: str
) -> None:
    walk.start(context, spec)
    folder = until(context, fleet, module)
    if how == "killed":
        fleet.kill(folder)
    else:
        fleet.end(folder, "failed")
    for _ in range(4):
        turn(context)
    journey = journeys.show(context, NAME)
    assert journey.state == "failed"
    assert list(states(journey).values()).count("failed") == 1
    assert journey.error is not None
    assert journey.error["remedy"]
    started = len(made(fleet))
    for _ in range(3):
        turn(context)
    assert len(made(fleet)) == started  # nothing goes round in circles
    assert walked(context, fleet, spec).state == "done"
    assert sorted(made(fleet)) == sorted([*MAKERS, module])


def test_a_failed_deployment_with_live_traffic_does_not_block_the_next_try(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    walked(context, fleet, spec)
    with context.database.begin() as session:
        session.query(ReplicaRow).one().failures = 4
    fleet.kill(fleet.one("serving.replica"))
    turn(context)
    failed = deployments.show(context, NAME, "tuned-1")
    assert (failed.provisioning_state, failed.traffic) == ("Failed", 100)
    assert walked(context, fleet, spec).state == "done"
    assert endpoints.show(context, NAME).traffic == {"tuned-1": 100}


def test_other_failed_deployments_are_left_alone(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    walked(context, fleet, spec)
    deployments.create(
        context, DeploymentSpec(name="mine", endpoint_name=NAME, model=MODEL, gate=False)
    )
    folder = until(context, fleet, "models.convert")
    fleet.end(folder, "failed")
    turn(context)
    turn(context)
    assert walked(context, fleet, spec).state == "done"
    assert deployments.show(context, NAME, "mine").provisioning_state == "Failed"


def test_changed_parameters_make_the_next_deployment_without_traffic(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    walked(context, fleet, spec)
    changed = changed_to(spec, finetune={"num_train_epochs": 2})
    assert walked(context, fleet, changed).state == "done"
    assert [model.version for model in models.listing(context)] == ["2", "1"]
    assert endpoints.show(context, NAME).traffic == {"tuned-1": 100}
    assert deployments.show(context, NAME, "tuned-2").provisioning_state == "Succeeded"
    assert walked(context, fleet, spec).state == "done"  # and back: all of it is there
    assert len(jobs.listing(context)) == 2


def test_other_settings_are_refused_while_it_is_under_way(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    walk.start(context, spec)
    until(context, fleet, "training")
    changed = changed_to(spec, finetune={"num_train_epochs": 2})
    with pytest.raises(Conflict, match="under way") as caught:
        walk.start(context, changed)
    assert "phoundry job cancel" in str(caught.value.remedy)
    assert advance(context, fleet).state == "done"
    assert made(fleet) == MAKERS
    assert walked(context, fleet, changed).state == "done"  # and afterwards it is taken


def test_what_is_begun_anew_meanwhile_is_not_overwritten(
    context: Context, fleet: FakeWorkers, spec: JourneySpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails, and is begun anew by another thread, between a tick's look and its writing."""
    walk.start(context, spec)
    changed = changed_to(spec, finetune={"num_train_epochs": 2})
    title, take_data = steps.STEPS["data"]

    def begun_anew(context: Context, walked: JourneySpec) -> steps.Progress:
        monkeypatch.setitem(steps.STEPS, "data", (title, take_data))
        (present, before) = journeys.running(context)[0]
        journeys.update(context, present, before, before, error=Conflict("It failed."))
        walk.start(context, changed)
        return take_data(context, walked)

    monkeypatch.setitem(steps.STEPS, "data", (title, begun_anew))
    walk.tick(context)
    assert set(states(journeys.show(context, NAME)).values()) == {"waiting"}
    assert advance(context, fleet).state == "done"
    trained = [start.spec for start in fleet.starts if start.module == "phoundry.training"]
    assert trained[-1]["parameters"]["num_train_epochs"] == 2


def _no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _a_bug(*_: Any, **__: Any) -> None:
    raise KeyError("lost")


@pytest.mark.parametrize(("fault", "said"), [(_no_space, "is full"), (_a_bug, "KeyError: 'lost'")])
def test_an_unexpected_fault_ends_the_journey_that_met_it(
    context: Context,
    fleet: FakeWorkers,
    spec: JourneySpec,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[..., None],
    said: str,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("phoundry.flows.init_flow", fault)
        journey = walked(context, fleet, spec)
    assert states(journey)["flow"] == "failed"
    assert journey.error is not None
    assert said in journey.error["message"]
    assert walked(context, fleet, spec).state == "done"


def test_a_base_model_beside_has_no_traffic(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    beside = changed_to(spec, deployment={"base": True})
    assert walked(context, fleet, beside).state == "done"
    shares = {item.name: item.traffic for item in deployments.listing(context, NAME)}
    assert shares == {"tuned-1": 100, "base": 0}


def test_a_journey_whose_job_was_cancelled_ends_and_resumes_it_when_asked(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    walk.start(context, spec)
    until(context, fleet, "training")
    jobs.cancel(context, jobs.listing(context)[0].name)
    fleet.stop()
    assert advance(context, fleet).state == "failed"
    assert walked(context, fleet, spec).state == "done"
    assert len(jobs.listing(context)) == 1


def test_data_that_is_gone_is_said_at_once(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    with pytest.raises(PhoundryError, match="no version '9'"):
        walk.start(context, spec.model_copy(update={"data": f"{NAME}:9"}))


def test_a_connection_of_ones_own_is_not_overwritten(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    secrets = {"key": SecretStr("mine")}
    connections.create(context, ConnectionSpec(name=NAME, configs={"a": "b"}, secrets=secrets))
    journey = walked(context, fleet, spec)
    assert states(journey)["connect"] == "failed"
    assert journey.error is not None
    assert "--name" in journey.error["remedy"]
    assert connections.values(context, NAME).secrets == {"key": "mine"}


def test_a_journey_of_the_first_release_is_read_and_nothing_is_trained_twice(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    """Its row is flat, and its job's name was made in another way."""
    walked(context, fleet, changed_to(spec, finetune={"num_train_epochs": 2}))
    (job,) = jobs.listing(context)
    old = {
        "name": NAME,
        "data": spec.data,
        "model": MODEL,
        "parameters": {"num_train_epochs": "2"},
        "deploy_base": False,
        "flow_path": spec.flow_path,
    }
    with context.database.begin() as session:
        row = session.scalars(select(JourneyRow)).one()
        row.spec = old
        row.steps = [{**step, "state": "waiting"} for step in row.steps]
        row.state = "running"
        renamed = session.scalars(select(JobRow)).one()
        model = session.scalars(select(ModelRow)).one()
        renamed.name = model.job = f"{NAME}-0a1b2c3d"
    assert advance(context, fleet).state == "done"
    present = journeys.present(context, NAME)
    assert present is not None
    assert walked(context, fleet, present[0]).state == "done"
    assert [each.name for each in jobs.listing(context)] == [f"{NAME}-0a1b2c3d"]
    assert made(fleet) == MAKERS
    assert job.status == "Completed"


def test_a_journey_that_cannot_be_read_ends_and_stops_no_other(
    context: Context, fleet: FakeWorkers, spec: JourneySpec
) -> None:
    walk.start(context, spec)
    with context.database.begin() as session:
        other = JourneyRow(workspace="default", name="odd", state="running")
        other.spec = {"project": {"name": "odd", "data": "a", "model": "m", "colour": "red"}}
        session.add(other)
    assert advance(context, fleet).state == "done"
    with context.database.begin() as session:
        odd = session.scalars(select(JourneyRow).filter_by(name="odd")).one()
        assert odd.state == "failed"
        assert odd.error is not None
        assert "another version" in odd.error["message"]
