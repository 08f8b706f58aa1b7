"""The reconciler against workers that end, die and are cut off at every point."""

from __future__ import annotations

import errno
import os
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import Conflict, InvalidInput
from phoundry.services import deployments, endpoints, jobs, models, routing, tasks
from phoundry.services.context import Context, now
from phoundry.services.reconcile import deployments as reconcile_deployments
from phoundry.services.reconcile import gateway as reconcile_gateway
from phoundry.services.reconcile import jobs as reconcile_jobs
from phoundry.services.reconcile import models as reconcile_models
from phoundry.services.reconcile import replicas as reconcile_replicas
from phoundry.services.reconcile import tasks as reconcile_tasks
from phoundry.serving.gateway.routes import load_routes
from phoundry.specs.deployment import Deployment, DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec, EndpointUpdate
from phoundry.specs.job import FineTuningJobSpec, Job
from phoundry.specs.model import Model, ModelSpec
from phoundry.spool import Spool
from phoundry.store.tables import DeploymentRow, JobRow, ModelRow, ReplicaRow
from tests.services.fake_workers import MODEL, FakeWorkers
from tests.support.assets import make_asset


def tick(context: Context, times: int = 1) -> None:
    for _ in range(times):
        reconcile_tasks.tick(context)
        reconcile_jobs.tick(context)
        reconcile_models.tick(context)
        reconcile_deployments.tick(context)


def advance(context: Context, fleet: FakeWorkers, rounds: int = 4) -> None:
    for _ in range(rounds):
        tick(context)
        fleet.work()
    tick(context)


def change(context: Context, table: Any, name: str, **values: Any) -> None:
    """Put a row back to where a control plane that was killed may have left it."""
    with context.database.begin() as session:
        row = session.query(table).filter_by(name=name).one()
        for key, value in values.items():
            setattr(row, key, value)


@pytest.fixture
def faq(context: Context, chats: bytes) -> str:
    return make_asset(context, chats).name


@pytest.fixture
def endpoint(context: Context) -> str:
    return endpoints.create(context, EndpointSpec(name="faq-bot")).name


def train(context: Context, name: str = "one", **changes: Any) -> Job:
    values = {"name": name, "model": MODEL, "training_data": "faq", **changes}
    return jobs.create(context, FineTuningJobSpec.model_validate(values))


def training(context: Context, fleet: FakeWorkers, name: str = "one") -> Path:
    """The folder of a job whose worker runs."""
    train(context, name)
    tick(context)
    fleet.work()  # the base model
    tick(context, 2)
    assert jobs.show(context, name).status == "Running"
    return fleet.one("training")


def trained(context: Context, fleet: FakeWorkers, name: str = "one") -> str:
    train(context, name)
    advance(context, fleet, 3)
    assert jobs.show(context, name).status == "Completed"
    return name


def registered(context: Context, fleet: FakeWorkers, job: str = "one") -> Model:
    models.register(context, ModelSpec(name="bot", job=trained(context, fleet, job)))
    advance(context, fleet, 2)
    return models.show(context, "bot")


def deploy(context: Context, name: str = "blue", model: str = MODEL) -> Deployment:
    spec = DeploymentSpec(name=name, endpoint_name="faq-bot", model=model, gate=False)
    return deployments.create(context, spec)


def state(context: Context, name: str = "blue") -> tuple[str, str]:
    with context.database.begin() as session:
        row = session.query(DeploymentRow).filter_by(name=name).one()
        replica = session.query(ReplicaRow).filter_by(deployment=name, number=0).one()
        return row.state, replica.state


def due(context: Context, name: str = "blue") -> None:
    """What crashed may be started again now."""
    with context.database.begin() as session:
        for replica in session.query(ReplicaRow).filter_by(deployment=name):
            replica.retry_at = now()


# Jobs


def test_a_job_started_by_a_control_plane_that_died_is_adopted(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    training(context, fleet)
    change(context, JobRow, "one", status="Preparing", started_at=None)  # killed before the commit
    tick(context)
    job = jobs.show(context, "one")
    assert (job.status, fleet.modules().count("training")) == ("Running", 1)
    assert job.started_at is not None


def test_a_job_that_ended_meanwhile_is_not_done_again(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    training(context, fleet)
    change(context, JobRow, "one", status="Preparing")
    fleet.work()
    tick(context, 2)
    assert jobs.show(context, "one").status == "Completed"
    assert fleet.modules().count("training") == 1


@pytest.mark.parametrize("stopped_in_time", [True, False])
def test_a_job_goes_on_after_down_and_up(
    context: Context, faq: str, fleet: FakeWorkers, stopped_in_time: bool
) -> None:
    training(context, fleet)
    reconcile_jobs.pause_all(context)
    assert jobs.show(context, "one").status == "Queued"
    if not stopped_in_time:  # the stop was cut off: the worker still winds up after the next start
        tick(context, 2)
        assert fleet.modules().count("training") == 1
    fleet.stop()
    tick(context, 2)
    assert jobs.show(context, "one").status == "Running"
    assert fleet.modules().count("training") == 2
    fleet.work()
    tick(context)
    assert jobs.show(context, "one").status == "Completed"


def test_a_job_that_ends_while_it_is_stopped_has_ended(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    training(context, fleet)
    reconcile_jobs.pause_all(context)
    fleet.work()
    tick(context, 2)
    assert jobs.show(context, "one").status == "Completed"
    assert fleet.modules().count("training") == 1


def test_one_that_does_not_stop_is_killed_before_it_is_started_again(
    context: Context, faq: str, fleet: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    training(context, fleet)
    reconcile_jobs.pause_all(context)
    monkeypatch.setattr(reconcile_jobs, "GRACE", timedelta(0))
    tick(context, 2)
    assert jobs.show(context, "one").status == "Running"
    assert fleet.modules().count("training") == 2


def test_a_signal_that_nobody_here_sent_is_no_cancelling(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    """The machine shuts down: every process is told to end."""
    fleet.end(training(context, fleet), "cancelled")
    tick(context)
    job = jobs.show(context, "one")
    assert job.status == "Failed"
    assert job.error is not None
    assert "phoundry job resume one" in job.error["remedy"]


def test_a_queued_job_with_a_process_is_cancelled_with_it(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    training(context, fleet)
    reconcile_jobs.pause_all(context)
    assert jobs.cancel(context, "one").status == "CancelRequested"
    fleet.stop()
    tick(context)
    assert jobs.show(context, "one").status == "Canceled"
    assert fleet.modules().count("training") == 1


def test_a_full_disk_fails_the_job_that_met_it_and_says_so(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    train(context)
    fleet.refusal = OSError(errno.ENOSPC, "No space left on device")
    tick(context)
    error = jobs.show(context, "one").error
    assert error is not None
    assert (error["code"], "is full" in error["message"]) == ("InsufficientResources", True)
    fleet.refusal = None
    jobs.resume(context, "one")
    advance(context, fleet, 3)
    assert jobs.show(context, "one").status == "Completed"


def test_a_job_trains_the_version_that_its_model_had(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    registered(context, fleet)
    train(context, "two", model="bot", validation_data="faq")
    job = jobs.show(context, "two")
    assert (job.model, job.training_data, job.validation_data) == ("bot:1", "faq:1", "faq:1")


# Models


def test_a_registration_that_was_stopped_is_started_again(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    models.register(context, ModelSpec(name="bot", job=trained(context, fleet)))
    tick(context)
    fleet.end(fleet.one("register"), "cancelled")
    advance(context, fleet, 3)
    assert models.show(context, "bot:1").status == "Ready"


def test_a_failed_registration_waits_until_somebody_asks_again(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    spec = ModelSpec(name="bot", job=trained(context, fleet))
    models.register(context, spec)
    tick(context)
    fleet.kill(fleet.one("register"))
    tick(context, 3)
    failed = models.show(context, "bot")
    assert failed.status == "Failed"
    assert failed.error is not None
    assert "phoundry model register bot --job one" in failed.error["remedy"]
    assert fleet.modules().count("models.register") == 1
    models.register(context, spec)
    advance(context, fleet, 2)
    assert [(m.version, m.status) for m in models.listing(context)] == [("1", "Ready")]


def test_versions_are_mlflows_whatever_failed_before(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    for job in [trained(context, fleet, name) for name in ("one", "two", "three")]:
        models.register(context, ModelSpec(name="bot", job=job))
    tick(context, 2)
    fleet.end(fleet.one("register"), "failed")  # one at a time, the first one first
    advance(context, fleet, 4)
    ready = {m.job: m.version for m in models.listing(context) if m.status == "Ready"}
    assert ready == {"two": "1", "three": "2"}
    models.register(context, ModelSpec(name="bot", job="one"))
    advance(context, fleet, 2)
    assert models.show(context, "bot:3").job == "one"


def test_a_version_that_is_not_ready_is_not_used(
    context: Context, faq: str, endpoint: str, fleet: FakeWorkers
) -> None:
    models.register(context, ModelSpec(name="bot", job=trained(context, fleet)))
    with pytest.raises(Conflict, match=r"'bot:1' is Registering.*phoundry model show bot:1"):
        deploy(context, model="bot:1")
    with pytest.raises(Conflict, match="Registering"):
        train(context, "two", model="bot:1")


def test_a_registered_models_files_are_gone(
    context: Context, faq: str, endpoint: str, fleet: FakeWorkers
) -> None:
    registered(context, fleet)
    deploy(context, model="bot")
    with context.database.begin() as session:
        shutil.rmtree(str(session.query(ModelRow).one().checkpoint_dir))
    tick(context)
    shown = deployments.show(context, endpoint, "blue")
    assert shown.error is not None
    assert "are gone from" in shown.error["message"]


# Tasks


def test_a_base_model_that_was_removed_is_made_again(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    trained(context, fleet, "one")
    shutil.rmtree(context.home.checkpoints)
    trained(context, fleet, "two")
    assert fleet.modules().count("models.materialize") == 2


def test_the_transformers_engine_is_told_which_weights_were_recorded(
    context: Context, endpoint: str, fleet: FakeWorkers
) -> None:
    deployments.create(
        context,
        DeploymentSpec(name="blue", endpoint_name="faq-bot", model=MODEL, engine="transformers"),
    )
    tick(context)
    folder = Path(fleet.starts[-1].spec["checkpoint_dir"])
    fleet.work()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "source.json").write_text('{"sha256": "abc"}')
    tick(context, 2)
    replica = fleet.starts[-1].spec
    assert (replica["engine"], replica["checkpoint_dir"]) == ("transformers", str(folder))
    assert (replica["weights"], replica["sha256"]) == (["model.safetensors"], "abc")
    fleet.end(fleet.one("replica"), "failed")  # as an engine that finds others ends
    tick(context)
    found = deployments.show(context, "faq-bot", "blue")
    assert found.error == {"code": "ModelError", "message": "It failed.", "remedy": "Mend."}


def test_what_waits_for_a_task_goes_on_after_down_and_up(
    context: Context, endpoint: str, fleet: FakeWorkers
) -> None:
    deploy(context)
    for module in ("materialize", "convert"):
        tick(context)
        fleet.end(fleet.one(module), "cancelled")
        tick(context)
        fleet.work()
    advance(context, fleet, 2)
    assert state(context) == ("Succeeded", "ready")


def test_a_failed_conversion_is_tried_again_for_the_next_deployment(
    context: Context, endpoint: str, fleet: FakeWorkers
) -> None:
    deploy(context)
    tick(context)
    fleet.work()
    tick(context)
    fleet.kill(fleet.one("convert"))
    tick(context, 2)
    assert state(context) == ("Failed", "failed")
    endpoints.update(context, endpoint, EndpointUpdate(traffic={}))
    deployments.delete(context, endpoint, "blue")
    tick(context)
    deploy(context)
    advance(context, fleet)
    assert state(context) == ("Succeeded", "ready")


# Deployments


def test_a_fault_with_one_stops_no_other(
    context: Context, endpoint: str, fleet: FakeWorkers
) -> None:
    deploy(context, "blue")
    deploy(context, "green")
    advance(context, fleet, 2)
    with context.database.begin() as session:
        row = session.query(DeploymentRow).filter_by(name="blue").one()
        row.spec, row.state = {"model": MODEL}, "Creating"
        replica = session.query(ReplicaRow).filter_by(deployment="blue").one()
        replica.state = "waiting"
        fleet.kill(Path(replica.run_dir))
    advance(context, fleet)
    assert state(context, "green") == ("Succeeded", "ready")
    assert state(context, "blue") == ("Failed", "failed")
    with context.database.begin() as session:
        error = session.query(DeploymentRow).filter_by(name="blue").one().error
    assert error is not None
    assert "KeyError" in error["message"]
    assert "server.log" in error["remedy"]


def test_what_has_served_is_tried_again_when_memory_is_short(
    context: Context, endpoint: str, fleet: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(context)
    advance(context, fleet)
    fleet.kill(fleet.one("replica"))
    monkeypatch.setenv("PHOUNDRY_MEMORY_LIMIT", "1")
    tick(context, 3)
    assert state(context) == ("Succeeded", "crashed")
    monkeypatch.delenv("PHOUNDRY_MEMORY_LIMIT")
    due(context)
    advance(context, fleet)
    assert state(context) == ("Succeeded", "ready")


def test_a_replica_that_dies_soon_after_every_start_is_given_up(
    context: Context, endpoint: str, fleet: FakeWorkers
) -> None:
    deploy(context)
    for _ in range(reconcile_replicas.MAX_FAILURES):
        advance(context, fleet)
        fleet.kill(fleet.one("replica"))
        tick(context)
        due(context)
    assert state(context) == ("Failed", "failed")
    deployments.retry(context, endpoint, "blue")
    advance(context, fleet)
    assert state(context) == ("Succeeded", "ready")


def test_no_traffic_goes_to_what_is_being_deleted(
    context: Context, endpoint: str, fleet: FakeWorkers
) -> None:
    deploy(context, "blue")
    deploy(context, "green")
    advance(context, fleet)
    deployments.delete(context, endpoint, "green")
    with pytest.raises(InvalidInput, match="no deployment green"):
        endpoints.update(context, endpoint, EndpointUpdate(traffic={"green": 100}))
    change(context, endpoints.EndpointRow, endpoint, traffic={"green": 100})  # as it could be once
    routing.publish(context)
    # One name that is not there, and the gateway would refuse the table of all endpoints.
    assert load_routes(context.home.routes).endpoints[endpoint].traffic == {}


def test_the_first_that_stays_gets_the_traffic(
    context: Context, endpoint: str, fleet: FakeWorkers
) -> None:
    deploy(context, "blue")
    advance(context, fleet)
    endpoints.update(context, endpoint, EndpointUpdate(traffic={}))
    deployments.delete(context, endpoint, "blue")
    with pytest.raises(Conflict, match="still being deleted"):
        deploy(context, "blue")
    deploy(context, "green")
    assert endpoints.show(context, endpoint).traffic == {"green": 100}


def test_an_endpoint_is_made_again_under_its_name(
    context: Context, endpoint: str, fleet: FakeWorkers
) -> None:
    deploy(context)
    advance(context, fleet)
    before = endpoints.keys(context, endpoint).primaryKey
    endpoints.delete(context, endpoint)
    with pytest.raises(Conflict, match="still being deleted"):
        endpoints.create(context, EndpointSpec(name=endpoint))
    fleet.stop()
    tick(context)
    endpoints.create(context, EndpointSpec(name=endpoint))
    assert endpoints.keys(context, endpoint).primaryKey != before
    deploy(context)
    advance(context, fleet, 2)
    assert state(context) == ("Succeeded", "ready")


# The gateway


def test_a_gateway_that_ends_at_once_is_not_started_in_a_storm(
    context: Context, fleet: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_gateway, "RETRY_SECONDS", 600.0)
    for _ in range(5):
        reconcile_gateway.tick(context, "127.0.0.1", 7411)
        (reconcile_gateway.run_dir(context) / "spec.json").touch()
        fleet.running.clear()
    assert len(fleet.starts) == 1


def test_a_gateway_is_started_though_the_clock_was_set_back(
    context: Context, fleet: FakeWorkers
) -> None:
    reconcile_gateway.tick(context, "127.0.0.1", 7411)
    spec = reconcile_gateway.run_dir(context) / "spec.json"
    spec.touch()
    os.utime(spec, (time.time() + 3600, time.time() + 3600))
    fleet.running.clear()
    reconcile_gateway.tick(context, "127.0.0.1", 7411)
    assert len(fleet.starts) == 2


def test_a_gateway_on_another_port_is_replaced_at_once(
    context: Context, fleet: FakeWorkers
) -> None:
    """The start waits for it: it would not find one that the next tick starts."""
    reconcile_gateway.tick(context, "127.0.0.1", 7411)
    (reconcile_gateway.run_dir(context) / "ready.json").write_text('{"port": 7411}')
    reconcile_gateway.tick(context, "127.0.0.1", 7511)
    assert [start.spec["port"] for start in fleet.starts] == [7411, 7511]
    assert fleet.running


def test_tasks_are_asked_for_by_several_and_run_once(context: Context, fleet: FakeWorkers) -> None:
    for _ in range(3):
        with context.database.begin() as session:
            row = tasks.ensure(session, context, "toy/one", "phoundry.toy", {})
            assert row.state == "running"
    assert len(fleet.starts) == 1


def test_a_training_that_diverged_can_still_be_shown(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    folder = training(context, fleet)
    spool = Spool(folder / "events.jsonl")
    spool.append("evaluated", step=1, eval_loss=2.5)
    spool.append("evaluated", step=2, eval_loss=float("nan"))
    spool.append("odd", message="says something")
    fleet.end(folder, metrics={"eval_loss": float("nan"), "tokens": 7})
    tick(context)
    job = jobs.show(context, "one")
    assert job.metrics == {"eval_loss": 2.5, "first_eval_loss": 2.5, "tokens": 7}
    assert Job.model_validate_json(job.model_dump_json()).metrics == job.metrics
