"""When MLflow is told of a job, and what becomes of trouble with it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from phoundry.services import jobs, models
from phoundry.services.context import Context, now
from phoundry.services.reconcile import curves
from phoundry.specs.job import FineTuningJobSpec
from phoundry.spool import Spool
from phoundry.store.tables import JobRow, ModelRow
from tests.services.fake_workers import MODEL, FakeWorkers
from tests.support.assets import make_asset


class Tellers(FakeWorkers):
    """Workers of which the folder says what they were asked, as the real ones' does."""

    def start(self, run_dir: Path, module: str, spec: dict[str, Any], **also: Any) -> int:
        pid = super().start(run_dir, module, spec, **also)
        (run_dir / "spec.json").write_text(json.dumps(spec))
        return pid

    def done(self) -> None:
        for folder in list(self.running):
            self.end(folder, seconds=3.0)


@pytest.fixture
def tellers(monkeypatch: pytest.MonkeyPatch) -> Tellers:
    made = Tellers()
    made.install(monkeypatch)
    return made


@pytest.fixture
def job(context: Context, chats: bytes, tellers: Tellers) -> str:
    """A job that has trained for a minute and has told something."""
    asset = make_asset(context, chats)
    spec = FineTuningJobSpec(
        model=MODEL, training_data=asset.name, name="job-1", description="Permits.", tags={"a": "b"}
    )
    made = jobs.create(context, spec)
    put(context, status="Running", started_at=now() - timedelta(seconds=60))
    Path(made.run_dir).mkdir(parents=True)
    tell(context, 1)
    return made.name


def put(context: Context, **values: Any) -> None:
    with context.database.begin() as session:
        row = session.query(JobRow).filter_by(name="job-1").one()
        for key, value in values.items():
            setattr(row, key, value)


def tell(context: Context, step: int) -> None:
    folder = Path(jobs.show(context, "job-1").run_dir)
    Spool(folder / "events.jsonl").append("progress", step=step, loss=2.0)


def later(context: Context, seconds: float) -> None:
    """Move the last worker into the past."""
    path = context.home.run("curves", "job-1") / "spec.json"
    asked = json.loads(path.read_text())
    path.write_text(json.dumps({**asked, "time": asked["time"] - seconds}))


def states(tellers: Tellers) -> list[str]:
    return [start.spec["state"] for start in tellers.starts]


def test_a_job_that_trains_is_told_of_now_and_then(
    context: Context, job: str, tellers: Tellers
) -> None:
    put(context, started_at=now() - timedelta(seconds=5))
    curves.tick(context)
    assert tellers.starts == [], "it has only just begun"
    put(context, started_at=now() - timedelta(seconds=60))
    curves.tick(context)
    curves.tick(context)
    assert states(tellers) == ["RUNNING"]
    tellers.done()
    later(context, 1000)
    curves.tick(context)
    assert len(tellers.starts) == 1, "there is nothing new"
    tell(context, 2)
    curves.tick(context)
    assert len(tellers.starts) == 2
    tellers.done()
    tell(context, 3)
    later(context, curves.REST_TIMES * 3.0 - 5)
    curves.tick(context)
    assert len(tellers.starts) == 2, "forty times three seconds have not passed"
    later(context, 10)
    curves.tick(context)
    assert len(tellers.starts) == 3


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("Completed", "FINISHED"),
        ("Failed", "FAILED"),
        ("Canceled", "KILLED"),
        ("Paused", "SCHEDULED"),
    ],
)
def test_the_end_is_told_at_once_and_once(
    context: Context, job: str, tellers: Tellers, status: str, state: str
) -> None:
    curves.tick(context)
    tellers.done()
    put(context, status=status, finished_at=now(), metrics={"train_loss": 1.5})
    curves.tick(context)
    tellers.done()
    curves.tick(context)
    assert states(tellers) == ["RUNNING", state]
    assert tellers.starts[-1].spec["metrics"] == {"train_loss": 1.5}


def test_an_end_waits_for_the_worker_that_tells_of_the_training(
    context: Context, job: str, tellers: Tellers
) -> None:
    curves.tick(context)
    put(context, status="Completed", finished_at=now())
    curves.tick(context)
    assert states(tellers) == ["RUNNING"]
    tellers.done()
    curves.tick(context)
    assert states(tellers) == ["RUNNING", "FINISHED"]


def test_what_the_worker_is_told(context: Context, job: str, tellers: Tellers) -> None:
    curves.tick(context)
    (started,) = tellers.starts
    spec = started.spec
    assert started.module == "phoundry.models.curves"
    assert Path(spec["events"]).read_text().count("\n") == 1
    assert spec["tracking_uri"] == context.home.tracking_uri
    assert spec["data"]["name"].endswith(":1")
    assert len(spec["data"]["sha256"]) == 64
    assert spec["parameters"]["seed"] == 42
    assert spec["tags"] == {
        "a": "b",
        "phoundry.base_model": jobs.show(context, job).model,
        "phoundry.training_data": spec["data"]["name"],
        "mlflow.note.content": "Permits.",
    }


def test_a_job_that_never_trained_is_not_told_of(
    context: Context, job: str, tellers: Tellers
) -> None:
    (Path(jobs.show(context, job).run_dir) / "events.jsonl").unlink()
    put(context, status="Failed", finished_at=now())
    curves.tick(context)
    assert tellers.starts == []


def test_trouble_is_said_once_and_the_end_is_tried_three_times(
    context: Context, job: str, tellers: Tellers
) -> None:
    put(context, status="Completed", finished_at=now())
    for _ in range(6):
        curves.tick(context)
        for folder in list(tellers.running):
            tellers.end(folder, "failed")
        curves.tick(context)
        later(context, 1000)
    assert [start.spec["attempt"] for start in tellers.starts] == [1, 2, 3]
    shown = jobs.show(context, job)
    (said,) = [notice for notice in shown.notices if "MLflow" in notice]
    assert "It failed." in said
    assert "phoundry job show job-1" in said
    assert shown.status == "Completed"


def test_a_killed_worker_gets_a_successor(context: Context, job: str, tellers: Tellers) -> None:
    put(context, status="Completed", finished_at=now())
    curves.tick(context)
    tellers.kill(context.home.run("curves", job))
    curves.tick(context)
    assert len(tellers.starts) == 1, "whatever killed it may still be there"
    later(context, 100)
    curves.tick(context)
    tellers.done()
    curves.tick(context)
    assert states(tellers) == ["FINISHED"] * 2


def test_one_that_phoundry_down_stopped_is_started_again(
    context: Context, job: str, tellers: Tellers
) -> None:
    put(context, status="Completed", finished_at=now())
    curves.tick(context)
    tellers.end(context.home.run("curves", job), "cancelled")
    curves.tick(context)
    assert states(tellers) == ["FINISHED"] * 2
    assert not any("MLflow" in str(said) for said in jobs.show(context, job).notices)


def test_a_worker_that_cannot_start_leaves_the_job_alone(
    context: Context, job: str, tellers: Tellers
) -> None:
    tellers.refusal = OSError(28, "No space left on device")
    curves.tick(context)
    curves.tick(context)
    shown = jobs.show(context, job)
    assert shown.status == "Running"
    assert sum(said.startswith(curves.TROUBLE) for said in shown.notices) == 1
    tellers.refusal = None
    curves.tick(context)
    assert states(tellers) == ["RUNNING"]


def test_a_resumed_job_goes_on_being_told_of(context: Context, job: str, tellers: Tellers) -> None:
    put(context, status="Failed", finished_at=now())
    curves.tick(context)
    tellers.done()
    put(context, status="Running", finished_at=None)
    tell(context, 2)
    later(context, 1000)
    curves.tick(context)
    tellers.done()
    put(context, status="Completed", finished_at=now())
    curves.tick(context)
    assert states(tellers) == ["FAILED", "RUNNING", "FINISHED"]


def test_many_jobs_at_rest_are_told_of_one_at_a_time(
    context: Context, job: str, chats: bytes, tellers: Tellers
) -> None:
    put(context, status="Completed", finished_at=now())
    other = jobs.create(
        context, FineTuningJobSpec(model=MODEL, training_data=make_asset(context, chats).name)
    )
    Path(other.run_dir).mkdir(parents=True)
    Spool(Path(other.run_dir) / "events.jsonl").append("progress", step=1, loss=1.0)
    with context.database.begin() as session:
        row = session.query(JobRow).filter_by(name=other.name).one()
        row.status, row.started_at, row.finished_at = "Failed", now(), now()
    for _ in range(4):
        curves.tick(context)
        assert len(tellers.running) <= 1
        tellers.done()
    assert sorted(start.spec["job"] for start in tellers.starts) == sorted([job, other.name])


def test_registering_leaves_the_curves_to_their_own_worker(
    context: Context, job: str, tellers: Tellers
) -> None:
    metrics = {"eval_loss": 1.5, "tokens_per_second": 300.0, "train_loss": 1.2}
    put(context, status="Completed", finished_at=now(), metrics=metrics)
    with context.database.begin() as session:
        row = session.query(JobRow).filter_by(name=job).one()
        made = ModelRow(workspace=context.workspace, name="faq", version=1, job=job, tags={})
        spec = models.worker_spec(context, made, row, None, None)
    assert spec["metrics"] == {"train_loss": 1.2}
