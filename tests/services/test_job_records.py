"""What is read from a job's folder: curves, samples, checkpoints, output."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.services import job_records
from phoundry.specs.job import MetricPoint
from phoundry.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "events.jsonl")


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"time": 1.0, "kind": kind, **fields}


def test_training_and_evaluation_of_one_step_are_one_point(tmp_path: Path, spool: Spool) -> None:
    spool.append("started", max_steps=20)
    spool.append("evaluated", step=0, eval_loss=3.5)
    spool.append("progress", step=10, epoch=0.5, loss=2.0, eval_loss=3.5, tokens_per_second=300.0)
    spool.append("evaluated", step=20, epoch=1.0, eval_loss=1.5, eval_token_accuracy=0.6)
    spool.append("progress", step=20, epoch=1.0, loss=1.0, learning_rate=1e-4, mfu=0.5)
    points = job_records.curves(tmp_path)
    assert [point.step for point in points] == [0, 10, 20]
    # The heartbeat repeats the evaluation before it, which is no point of the curve.
    assert points[1].eval_loss is None
    assert (points[1].loss, points[1].tokens_per_second) == (2.0, 300.0)
    assert (points[2].loss, points[2].eval_loss, points[2].eval_token_accuracy) == (1.0, 1.5, 0.6)
    assert (points[2].mfu, points[2].learning_rate) == (0.5, 1e-4)
    assert points[2].time > 0


def test_what_a_killed_run_told_of_later_steps_is_told_again() -> None:
    events = [
        event("started"),
        event("progress", step=10, loss=3.0),
        event("progress", step=20, loss=2.0),
        event("progress", step=27, loss=1.9),  # killed here; its checkpoint is of step 20
        event("started"),
        event("progress", step=25, loss=1.8),
        event("progress", step=30, loss=1.7),
    ]
    points = job_records.merged(events)
    assert [(point.step, point.loss) for point in points] == [
        (10, 3.0),
        (20, 2.0),
        (25, 1.8),
        (30, 1.7),
    ]
    anew = [*events, event("started"), event("evaluated", step=0, eval_loss=4.0)]
    assert [point.step for point in job_records.merged(anew)] == [0]


def test_a_diverged_training_has_a_curve_with_gaps() -> None:
    (point,) = job_records.merged([event("progress", step=1, loss=math.nan, mfu=math.inf)])
    assert (point.loss, point.mfu) == (None, None)


@given(
    evaluations=st.sets(st.integers(0, 5000), max_size=300),
    limit=st.integers(2, 400),
)
def test_thinned_curves_keep_their_ends_and_their_size(evaluations: set[int], limit: int) -> None:
    points = [
        MetricPoint(step=step, eval_loss=1.0 if step in evaluations else None, loss=2.0)
        for step in range(5001)
    ]
    kept = job_records.thinned(points, limit)
    steps = [point.step for point in kept]
    assert steps == sorted(set(steps))
    assert len(kept) <= limit
    assert (steps[0], steps[-1]) == (0, 5000)
    if len(evaluations) <= min(limit // 2, limit - 2):
        assert {point.step for point in kept if point.eval_loss is not None} == evaluations


def test_short_curves_are_whole() -> None:
    points = [MetricPoint(step=step) for step in range(7)]
    assert job_records.thinned(points, 7) == points


def test_samples_of_the_newest_evaluation_or_of_a_step(tmp_path: Path, spool: Spool) -> None:
    assert job_records.samples(tmp_path) == []
    for step, answer in ((5, "early"), (10, "first"), (10, "again")):  # told twice after a kill
        spool.append("sample", step=step, prompt="Why?", reference="So.", answer=answer)
    spool.append("sample", step=10, prompt="How?", reference="Thus.", answer="that")
    newest = job_records.samples(tmp_path)
    assert [(each.prompt, each.answer) for each in newest] == [("Why?", "again"), ("How?", "that")]
    assert [each.answer for each in job_records.samples(tmp_path, 5)] == ["early"]
    assert job_records.samples(tmp_path, 6) == []


def checkpoint(folder: Path, step: int) -> None:
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps({"step": step}))
    (folder / "state.safetensors").write_bytes(b"x" * 100)


def test_checkpoints_are_listed_with_the_best_one_marked(tmp_path: Path) -> None:
    assert job_records.checkpoints(tmp_path) == []
    kept = tmp_path / "checkpoints"
    checkpoint(kept / "step-00000040", 40)
    checkpoint(kept / "step-00000020", 20)
    (kept / ".step-00000060.1.x").mkdir()  # one that is being written
    (kept / "best").symlink_to("step-00000020")
    found = job_records.checkpoints(tmp_path)
    assert [(each.step, each.best) for each in found] == [(20, True), (40, False)]
    assert found[1].bytes == 100 + len('{"step": 40}')
    assert found[1].path == str(kept / "step-00000040")


def test_a_checkpoint_that_is_removed_meanwhile_is_not_listed(tmp_path: Path) -> None:
    kept = tmp_path / "checkpoints"
    checkpoint(kept / "step-00000020", 20)
    (kept / "step-00000010").symlink_to("gone")  # there when the folder is listed, then not
    assert [each.step for each in job_records.checkpoints(tmp_path)] == [20]


def test_a_damaged_state_does_not_hide_the_checkpoints(tmp_path: Path) -> None:
    checkpoint(tmp_path / "checkpoints" / "step-00000010", 10)
    (tmp_path / "checkpoints" / "step-00000010" / "state.json").write_text("{")
    (tmp_path / "checkpoints" / "best").symlink_to("step-00000010")
    assert [(each.step, each.best) for each in job_records.checkpoints(tmp_path)] == [(10, True)]


@pytest.mark.parametrize(("goes_on", "step"), [(True, 40), (False, None)])
def test_a_job_that_shall_begin_anew_goes_on_from_nothing(
    tmp_path: Path, goes_on: bool, step: int | None
) -> None:
    parameters = {"resume_from_checkpoint": goes_on}
    assert job_records.goes_on_from(tmp_path, parameters) is None
    checkpoint(tmp_path / "checkpoints" / "step-00000040", 40)
    assert job_records.goes_on_from(tmp_path, parameters) == step
    assert bool(job_records.nothing_written(tmp_path, parameters)) == goes_on


def test_an_output_counts_only_if_the_process_says_that_it_wrote_it(tmp_path: Path) -> None:
    (tmp_path / "output" / "adapter").mkdir(parents=True)  # of an earlier cancelling
    assert job_records.kept_output(tmp_path) is None
    (tmp_path / "result.json").write_text('{"status": "cancelled"}')
    assert job_records.kept_output(tmp_path) is None
    (tmp_path / "result.json").write_text('{"status": "cancelled", "output": "x"}')
    assert job_records.kept_output(tmp_path) == tmp_path / "output"
    (tmp_path / "output" / "adapter").rmdir()
    assert job_records.kept_output(tmp_path) is None
