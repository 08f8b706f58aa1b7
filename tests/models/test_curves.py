"""A job's curves in MLflow, read back with MLflow's own client."""

from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.models import curves
from phoundry.models.registry import JOB, Registry
from phoundry.spool import Spool
from tests.support.imports import WATCH, heavy_imports

NOW = 1_700_000_000.0
# A worker that is killed so many calls after its first batch of points is kept. It does so itself:
# whoever looks from outside may look, on a busy machine, when all is told.
DYING = """
import os, signal, sys
from phoundry.models import curves
from phoundry.worker import main

left, log = int(sys.argv.pop(1)), curves._log

def count(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(*arguments):
    log(*arguments)
    sys.setprofile(count)

curves._log = watched
main(curves.task)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One registry (making one takes seconds); each test has a job of its own."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield tmp_path_factory.mktemp("mlflow")
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    mlflow.set_registry_uri(None)  # type: ignore[arg-type]
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture
def registry(place: Path) -> Registry:
    return Registry(f"sqlite:///{place / 'mlflow.db'}", place / "artifacts")


@pytest.fixture
def spec(place: Path, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    name = request.node.name
    return {
        "job": f"job-{name[5:45].strip('_')}",
        "events": str(tmp_path / "events.jsonl"),
        "state": "RUNNING",
        "tracking_uri": f"sqlite:///{place / 'mlflow.db'}",
        "artifact_root": str(place / "artifacts"),
        "tags": {"phoundry.base_model": "smollm2", "team": "docs"},
        "parameters": {"precision": "32", "lora_r": 16, "learning_rate": 5e-4},
        "metrics": {},
        "data": {"name": "faq:1", "sha256": "ab" * 32},
        "started": NOW,
    }


def write(spec: dict[str, Any], *events: dict[str, Any]) -> None:
    with Path(spec["events"]).open("a") as file:
        for number, event in enumerate(events):
            file.write(json.dumps({"time": NOW + number, **event}) + "\n")


def progress(step: int, loss: float, **more: float) -> dict[str, Any]:
    # `eval_loss` stands in every event after the first evaluation; it is no point of a curve.
    return {"kind": "progress", "step": step, "loss": loss, "eval_loss": 9.0, **more}


def evaluated(step: int, loss: float, **more: Any) -> dict[str, Any]:
    return {"kind": "evaluated", "step": step, "epoch": step / 10, "eval_loss": loss, **more}


def tell(spec: dict[str, Any], tmp_path: Path, **changes: Any) -> dict[str, Any]:
    return curves.task({**spec, **changes}, tmp_path, Spool(tmp_path / "own.jsonl"))


def history(registry: Registry, run_id: str, key: str) -> list[tuple[int, float]]:
    found: Any = registry.client.get_metric_history(run_id, key)
    return [(metric.step, metric.value) for metric in found]


def the_run(registry: Registry, spec: dict[str, Any]) -> Any:
    experiment: Any = registry.client.get_experiment_by_name("phoundry")
    where = f"tags.`{JOB}` = '{spec['job']}'"
    (found,) = registry.client.search_runs([experiment.experiment_id], where)
    return registry.client.get_run(found.info.run_id)


def test_curves_have_their_steps_and_times(
    spec: dict[str, Any], registry: Registry, tmp_path: Path
) -> None:
    write(
        spec,
        {"kind": "started", "max_steps": 20},
        evaluated(0, 3.5, eval_token_accuracy=0.4),
        progress(10, 2.5, learning_rate=1e-4, tokens_per_second=310.0, mfu=0.45, epoch=1.0),
        evaluated(10, 2.75, eval_token_accuracy=0.5, eval_f1=0.3, eval_exact=0.1, best=True),
        progress(20, 2.0, learning_rate=5e-5, tokens_per_second=320.0, mfu=0.46, epoch=2.0),
    )
    result = tell(spec, tmp_path)
    run_id = result["run_id"]
    assert history(registry, run_id, "loss") == [(10, 2.5), (20, 2.0)]
    assert history(registry, run_id, "eval_loss") == [(0, 3.5), (10, 2.75)]
    assert history(registry, run_id, "eval_token_accuracy") == [(0, 0.4), (10, 0.5)]
    assert history(registry, run_id, "learning_rate") == [(10, 1e-4), (20, 5e-5)]
    assert history(registry, run_id, "mfu") == [(10, 0.45), (20, 0.46)]
    assert history(registry, run_id, "epoch") == [(0, 0.0), (10, 1.0), (20, 2.0)]
    assert history(registry, run_id, "eval_exact") == [(10, 0.1)]
    times: Any = registry.client.get_metric_history(run_id, "loss")
    assert [metric.timestamp for metric in times] == [(NOW + at) * 1000 for at in (2, 4)]
    assert result["offset"] == Path(spec["events"]).stat().st_size


def test_the_run_says_what_it_is(spec: dict[str, Any], registry: Registry, tmp_path: Path) -> None:
    write(spec, {"kind": "choice", "name": "precision", "value": "16"})
    tell(spec, tmp_path)
    assert the_run(registry, spec).data.params == {}, "what is measured is not known yet"
    write(spec, {"kind": "started", "max_steps": 2}, evaluated(2, 1.0, best=True))
    tell(spec, tmp_path)
    tell(spec, tmp_path)
    run = the_run(registry, spec)
    assert run.data.params == {"precision": "16", "lora_r": "16", "learning_rate": "0.0005"}
    assert run.data.tags["phoundry.base_model"] == "smollm2"
    assert run.data.tags["phoundry.best_step"] == "2"
    assert run.data.tags["team"] == "docs"
    assert run.data.tags["mlflow.runName"] == spec["job"]
    assert (run.info.status, run.info.start_time) == ("RUNNING", NOW * 1000)
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("faq:1", "ab" * 18)


def test_a_resumed_job_goes_on_in_its_run_without_a_step_back(
    spec: dict[str, Any], registry: Registry, tmp_path: Path
) -> None:
    write(spec, {"kind": "started"}, *(progress(step, 3 - step / 50) for step in (10, 20, 30)))
    first = tell(spec, tmp_path, state="FAILED", finished=NOW + 5)
    assert the_run(registry, spec).info.status == "FAILED"
    # The checkpoint was that of step 15.
    write(spec, {"kind": "started"}, *(progress(step, 3 - step / 50) for step in (20, 25, 30, 40)))
    second = tell(spec, tmp_path)
    assert second["run_id"] == first["run_id"]
    assert the_run(registry, spec).info.status == "RUNNING"
    steps = [step for step, _ in history(registry, first["run_id"], "loss")]
    assert steps == [10, 20, 30, 40]
    assert (first["points"], second["points"]) == (3, 1)


def test_a_paused_job_is_scheduled_and_a_canceled_one_killed(
    spec: dict[str, Any], registry: Registry, tmp_path: Path
) -> None:
    write(spec, progress(1, 2.0))
    for state in ("SCHEDULED", "RUNNING", "KILLED"):
        tell(spec, tmp_path, state=state, finished=NOW + 9)
        assert the_run(registry, spec).info.status == state
    assert the_run(registry, spec).info.end_time == (NOW + 9) * 1000


def test_the_end_adds_what_is_known_of_the_whole_once(
    spec: dict[str, Any], registry: Registry, tmp_path: Path
) -> None:
    write(spec, progress(7, 2.0), evaluated(8, 1.5))
    metrics = {"eval_loss": 1.5, "train_loss": 1.9, "tokens": 400.0}
    end = {"state": "FINISHED", "finished": NOW + 60, "metrics": metrics}
    run_id = tell(spec, tmp_path, **end)["run_id"]
    assert tell(spec, tmp_path, **end)["points"] == 0
    assert history(registry, run_id, "train_loss") == [(8, 1.9)]
    assert history(registry, run_id, "tokens") == [(8, 400.0)]
    assert history(registry, run_id, "eval_loss") == [(8, 1.5)]


def test_registering_finds_the_run_and_leaves_its_curves(
    spec: dict[str, Any], registry: Registry, tmp_path: Path
) -> None:
    write(spec, progress(7, 2.0), evaluated(8, 1.5))
    run_id = tell(spec, tmp_path, state="KILLED", finished=NOW + 60)["run_id"]
    tags = {JOB: spec["job"], "phoundry.source_sha256": "0"}
    metrics = {"eval_loss": 1.4, "merge_logit_error": 0.001}
    with registry.locked():
        draft = registry.draft(spec["job"], tags, {"lora_r": "16"})
        version = registry.publish(spec["job"], draft, tags, metrics, "")
    assert version.run_id == run_id == draft.run_id
    assert history(registry, run_id, "eval_loss") == [(8, 1.5)]
    assert history(registry, run_id, "merge_logit_error") == [(0, 0.001)]
    assert the_run(registry, spec).info.status == "KILLED"


def test_a_run_that_registering_made_gets_its_curves(
    spec: dict[str, Any], registry: Registry, tmp_path: Path
) -> None:
    tags = {JOB: spec["job"], "phoundry.source_sha256": "0"}
    with registry.locked():
        draft = registry.draft(spec["job"], tags, {"lora_r": "16"})
    write(spec, {"kind": "started"}, progress(7, 2.0))
    tell(spec, tmp_path)
    run = the_run(registry, spec)
    assert run.info.run_id == draft.run_id
    assert run.data.params["learning_rate"] == "0.0005"
    assert run.data.tags["team"] == "docs"
    assert run.data.metrics["loss"] == 2.0


def test_a_loss_that_is_no_number_is_kept_as_none(
    spec: dict[str, Any], registry: Registry, tmp_path: Path
) -> None:
    write(spec, progress(1, math.inf), progress(2, math.nan), progress(3, 1.0))
    found = history(registry, tell(spec, tmp_path)["run_id"], "loss")
    assert [step for step, _ in found] == [1, 2, 3]
    assert [math.isnan(value) for _, value in found] == [True, True, False]


def test_tags_that_mlflow_cannot_write_are_left_out(
    spec: dict[str, Any], registry: Registry, tmp_path: Path
) -> None:
    write(spec, progress(1, 1.0))
    tell(spec, tmp_path, tags={"what?!": "x", "fine": "y" * 9000})
    tags = the_run(registry, spec).data.tags
    assert "what?!" not in tags
    assert tags["fine"].startswith("yyy")


def test_more_points_than_one_call_takes(
    spec: dict[str, Any], registry: Registry, tmp_path: Path
) -> None:
    write(spec, *(progress(step, 1.0 / step, epoch=0.1) for step in range(1, 701)))
    result = tell(spec, tmp_path)
    assert result["points"] == 1400
    assert len(history(registry, result["run_id"], "loss")) == 700


@pytest.mark.slow
def test_killed_while_it_tells_it_tells_everything_once(
    spec: dict[str, Any], registry: Registry, place: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    write(spec, {"kind": "started"}, *(progress(step, 1 / step) for step in range(1, 6_001)))
    (folder / "spec.json").write_text(json.dumps(spec))
    words = [sys.executable, *WATCH, "-m", "phoundry.models.curves", str(folder)]
    reached = points_kept(place)
    for calls in (0, 5_000):  # between two batches, and in the middle of the second
        dying = [sys.executable, "-c", DYING, str(calls), str(folder)]
        ended = subprocess.run(dying, capture_output=True, text=True, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert points_kept(place) == reached + 1_000
        reached += 1_000
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert heavy_imports(done.stderr) == {"mlflow"}
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "succeeded"
    assert 0 < result["points"] < 6_000
    found = history(registry, result["run_id"], "loss")
    assert [step for step, _ in found] == list(range(1, 6_001))


def points_kept(place: Path) -> int:
    if not (place / "mlflow.db").exists():
        return 0
    with closing(sqlite3.connect(place / "mlflow.db", timeout=30)) as database:
        return database.execute("SELECT count(*) FROM metrics").fetchone()[0]


EVENTS = st.lists(
    st.tuples(st.sampled_from(["loss", "eval_loss"]), st.integers(0, 50)), max_size=60
).map(lambda pairs: [curves.Point(key, 1.0, step, NOW) for key, step in pairs])


@given(EVENTS, st.integers(0, 60))
def test_telling_in_two_parts_tells_the_same(points: list[curves.Point], cut: int) -> None:
    whole = list(curves.rising(points, {}))
    first = list(curves.rising(points[:cut], {}))
    told = {point.key: point.step for point in first}  # as MLflow would answer
    assert first + list(curves.rising(points, told)) == whole
    for key in ("loss", "eval_loss"):
        steps = [point.step for point in whole if point.key == key]
        assert steps == sorted(set(steps))
