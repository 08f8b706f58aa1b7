"""Pausing, resuming and cancelling a job whose process runs, and what it told."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from phoundry.errors import Conflict, NotFound, WorkerFailed
from phoundry.services import data, jobs, models
from phoundry.services.context import Context
from phoundry.services.job_workers import Wording
from phoundry.services.reconcile import jobs as reconcile_jobs
from phoundry.services.reconcile import pace
from phoundry.specs.job import Job
from phoundry.specs.model import ModelSpec
from phoundry.spool import Spool
from phoundry.store.tables import JobRow
from phoundry.worker import stop_reason
from tests.services.fake_workers import MODEL, FakeWorkers
from tests.services.test_reconcile import advance, tick, train, training
from tests.support.assets import make_asset


@pytest.fixture
def folder(context: Context, chats: bytes, fleet: FakeWorkers) -> Path:
    """Of the job `one`, whose worker runs."""
    make_asset(context, chats)
    return training(context, fleet)


def cancelled(context: Context, fleet: FakeWorkers, folder: Path) -> Job:
    """The job, cancelled at step 30 of 100, with the state of step 20 as its output."""
    spool = Spool(folder / "events.jsonl")
    spool.append("evaluated", step=20, eval_loss=1.5, best=True)
    spool.append("progress", step=30, max_steps=100, loss=1.25, seconds_left=70.0)
    jobs.cancel(context, "one")
    (folder / "output" / "adapter").mkdir(parents=True)
    metrics = {"eval_loss": 1.5, "output_step": 20}
    fleet.end(folder, "cancelled", output=str(folder / "output"), metrics=metrics)
    tick(context)
    return jobs.show(context, "one")


def test_a_paused_job_lets_the_next_one_run_and_goes_on_later(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    train(context, "two")
    assert jobs.pause(context, "one").status == "PauseRequested"
    with pytest.raises(Conflict, match="PauseRequested") as early:
        jobs.resume(context, "one")
    assert "writes a checkpoint first" in str(early.value.remedy)
    assert stop_reason(folder) == "pause"
    assert jobs.pause(context, "one").status == "PauseRequested"
    assert fleet.terminated == [folder]  # a second signal could cut into what it writes
    fleet.stop()
    tick(context, 3)
    assert jobs.show(context, "one").status == "Paused"
    assert jobs.show(context, "two").status == "Running"
    assert jobs.resume(context, "one").status == "Queued"
    assert not (folder / "result.json").exists()
    advance(context, fleet)
    assert [job.status for job in jobs.listing(context)] == ["Completed", "Completed"]


def test_a_paused_job_keeps_nobody_awake(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    jobs.pause(context, "one")
    assert pace.of(context).under_way
    fleet.stop()
    tick(context)
    assert not pace.of(context).under_way
    said = jobs.show(context, "one").events[-1]
    assert (said.kind, said.message) == ("paused", "Paused; resumed, it begins anew.")


def test_one_that_writes_for_too_long_is_killed_and_paused_all_the_same(
    context: Context, folder: Path, fleet: FakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.pause(context, "one")
    monkeypatch.setattr(reconcile_jobs, "GRACE", timedelta(0))
    tick(context, 2)
    assert jobs.show(context, "one").status == "Paused"


def test_a_pausing_job_can_still_be_cancelled(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    jobs.pause(context, "one")
    assert jobs.cancel(context, "one").status == "CancelRequested"
    assert (stop_reason(folder), fleet.terminated) == ("cancel", [folder])
    with pytest.raises(Conflict, match="CancelRequested"):
        jobs.pause(context, "one")
    fleet.stop()
    tick(context)
    assert jobs.show(context, "one").status == "Canceled"


def test_one_that_ends_while_it_is_asked_to_pause_has_ended(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    jobs.pause(context, "one")
    fleet.work()
    tick(context)
    assert jobs.show(context, "one").status == "Completed"


def test_a_queued_job_is_paused_at_once(context: Context, folder: Path) -> None:
    train(context, "two")
    assert jobs.pause(context, "two").status == "Paused"
    with pytest.raises(Conflict, match=r"is Paused.*phoundry job resume two"):
        jobs.pause(context, "two")
    assert jobs.cancel(context, "two").status == "Canceled"


def test_who_cancels_a_paused_job_is_told_how_to_keep_its_best_state(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    (folder / "checkpoints" / "step-00000020").mkdir(parents=True)
    jobs.pause(context, "one")
    fleet.stop()
    tick(context)
    assert (
        jobs.show(context, "one").events[-1].message == "Paused; resumed, it goes on from step 20."
    )
    job = jobs.cancel(context, "one")
    assert job.status == "Canceled"
    assert "resume it, and cancel it once it trains" in job.notices[-1]


def test_who_cancels_one_that_has_no_time_to_write_is_told_so_too(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    (folder / "checkpoints" / "step-00000020").mkdir(parents=True)
    jobs.cancel(context, "one")
    fleet.kill(folder)
    tick(context)
    job = jobs.show(context, "one")
    assert job.status == "Canceled"
    assert "so it has none" in job.notices[-1]


def test_what_a_resumed_job_needs_may_be_deleted_but_not_gone(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    told = fleet.running[folder].spec
    (folder / "spec.json").write_text(json.dumps(told))
    fleet.end(folder, "failed")
    tick(context)
    data.delete(context, "faq:1")
    jobs.resume(context, "one")
    tick(context)
    assert fleet.starts[-1].spec == told
    Spool(folder / "events.jsonl").append("notice", message="Something to know.")
    tick(context)
    assert jobs.show(context, "one").notices[-1] == "Something to know."
    fleet.end(folder, "failed")
    tick(context)
    Path(told["train_path"]).unlink()
    with pytest.raises(NotFound, match="data asset 'faq'"):
        jobs.resume(context, "one")
    assert jobs.show(context, "one").status == "Failed"


def test_a_worker_that_nobody_watches_any_more_ends_before_the_next_one_starts(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    error = WorkerFailed("The disk was away for a moment.")
    with context.database.begin() as session:
        row = session.scalars(select(JobRow)).one()
        reconcile_jobs._fail(session, context, row, error)  # pyright: ignore[reportPrivateUsage]
    jobs.resume(context, "one")
    tick(context, 2)
    assert jobs.show(context, "one").status == "Preparing"
    fleet.stop()
    tick(context, 2)
    assert jobs.show(context, "one").status == "Running"
    assert len([each for each in fleet.starts if each.folder == folder]) == 2


def test_a_worker_s_words_become_the_user_s_once(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    job = {"model": "/home/ada/tiny", "training_data": "faq:1"}
    told = {"checkpoint_dir": "/home/ada/tiny", "train_path": "/b/0f3"}
    (folder / "spec.json").write_text(json.dumps(told))
    words = Wording.of(context, folder, job)
    assert words.text("/home/ada/tiny has no place; tiny tinyness.") == (
        "/home/ada/tiny has no place; tiny tinyness."
    )
    assert words.text("0f3: 2 rows of /b/0f3, 0f37") == (
        "faq:1 (train): 2 rows of faq:1 (train), 0f37"
    )


def test_a_bad_row_is_told_with_the_data_that_has_it(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    told = fleet.running[folder].spec
    (folder / "spec.json").write_text(json.dumps(told))
    model = Path(told["checkpoint_dir"]).name
    error = {
        "code": "InvalidInput",
        "message": f"1 of 2 conversations cannot be used for {model}.",
        "faults": [{"where": "row:2", "reason": f"{model} refuses it"}],
        "remedy": f"See {Path(told['train_path']).name}.",
        "total": 1,
    }
    (folder / "result.json").write_text(json.dumps({"status": "failed", "error": error}))
    del fleet.running[folder]
    tick(context)
    assert jobs.show(context, "one").error == {
        "code": "InvalidInput",
        "message": f"1 of 2 conversations cannot be used for {MODEL}.",
        # Ten rows: eight are trained on, two are held out.
        "faults": [{"where": "faq:1 (test) row 2", "reason": f"{MODEL} refuses it"}],
        "remedy": "See faq:1 (train).",
        "total": 1,
    }


def test_a_stopped_phoundry_pauses_what_runs(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    reconcile_jobs.pause_all(context)
    assert (stop_reason(folder), jobs.show(context, "one").status) == ("pause", "Queued")


def test_the_best_state_of_a_cancelled_job_can_be_registered(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    job = cancelled(context, fleet, folder)
    assert (job.status, job.metrics["eval_loss"]) == ("Canceled", 1.5)
    assert (job.progress.step, job.progress.seconds_left) == (30, None)
    assert "step 30 of 100; its output is the state of step 20" in job.notices[-1]
    made = models.register(context, ModelSpec(name="bot", job="one"))
    assert made.tags["phoundry.cancelled"] == "at step 30 of 100"
    advance(context, fleet, 2)
    assert models.show(context, "bot").status == "Ready"
    assert fleet.starts[-1].spec["tags"]["phoundry.cancelled"] == "at step 30 of 100"


def test_a_job_that_went_on_is_registered_anew(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    cancelled(context, fleet, folder)
    spec = ModelSpec(name="bot", job="one")
    models.register(context, spec)
    advance(context, fleet, 2)
    early = models.register(context, spec)
    assert (early.version, early.status) == ("1", "Ready")
    jobs.resume(context, "one")
    tick(context)
    fleet.end(folder, output=str(folder / "output"), metrics={"eval_loss": 1.0})
    tick(context)
    assert jobs.show(context, "one").status == "Completed"
    assert models.of_job(context, "bot", "one") is None
    whole = models.register(context, spec)
    assert whole.version == "2"
    assert "phoundry.cancelled" not in whole.tags
    assert models.register(context, spec).version == "2"
    assert (found := models.of_job(context, "bot", "one")) is not None
    assert found.version == "2"


def test_a_cancelled_job_that_kept_nothing_is_not_registered(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    jobs.cancel(context, "one")
    fleet.stop()
    tick(context)
    with pytest.raises(Conflict, match="cancelled one that had time"):
        models.register(context, ModelSpec(name="bot", job="one"))


def test_what_was_kept_is_no_output_any_more_once_the_job_goes_on(
    context: Context, folder: Path, fleet: FakeWorkers
) -> None:
    cancelled(context, fleet, folder)
    jobs.resume(context, "one")
    with pytest.raises(Conflict, match="is Queued"):
        models.register(context, ModelSpec(name="bot", job="one"))
    tick(context)
    jobs.cancel(context, "one")
    fleet.kill(folder)
    tick(context)
    assert jobs.show(context, "one").status == "Canceled"
    with pytest.raises(Conflict, match="is Canceled"):
        models.register(context, ModelSpec(name="bot", job="one"))


def test_what_is_told_often_does_not_grow_the_row(context: Context, folder: Path) -> None:
    spool = Spool(folder / "events.jsonl")
    for step in range(250):
        spool.append("progress", step=step, max_steps=250, mfu=0.5)
        spool.append("checkpoint", step=step)
        spool.append("sample", step=step, prompt="Why?", reference="So.", answer="x" * 1000)
        spool.append("notice", message="The same again.")
        spool.append("notice", message=f"Number {step}.")
        spool.append("evaluated", step=step, eval_loss=2.0, best=step == 7)
    tick(context)
    job = jobs.show(context, "one")
    kinds = [event.kind for event in job.events]
    assert (kinds.count("evaluated"), kinds.count("sample")) == (100, 0)
    assert len(job.notices) == 100
    assert (job.progress.step, job.progress.mfu) == (249, 0.5)
    assert (job.progress.best_step, job.progress.best_metric) == (7, 2.0)
    assert len(jobs.metrics(context, "one")) == 250
    assert [sample.step for sample in jobs.samples(context, "one")] == [249]


def test_what_was_measured_is_told_with_what_it_chose(context: Context, folder: Path) -> None:
    spool = Spool(folder / "events.jsonl")
    measured = {"16": 310.0, "32": 190.0}
    for rows in ("256", "512"):  # of a resumed run the newer one counts
        spool.append("choice", name="precision", value="16", why="faster", measured=measured)
        spool.append("choice", name="row_tokens", value=rows)
    tick(context)
    job = jobs.show(context, "one")
    assert [(each.name, each.value) for each in job.choices] == [
        ("precision", "16"),
        ("row_tokens", "512"),
    ]
    assert job.choices[0].measured == measured
    assert (job.parameters["precision"], job.sources["precision"]) == ("16", "measured")


def test_a_run_that_stops_early_says_so(context: Context, folder: Path) -> None:
    message = "No better loss in 2 evaluations: stopped at step 40; step 20 was the best."
    Spool(folder / "events.jsonl").append("stopped_early", step=40, best_step=20, message=message)
    tick(context)
    job = jobs.show(context, "one")
    assert job.notices[-1] == message
    assert (job.events[-1].kind, job.progress.best_step) == ("stopped_early", 20)
