"""Worker: what a job has told so far becomes metrics, parameters and tags of its run in MLflow.

    python -m phoundry.models.curves RUN_DIR

spec.json is `{job, events, state, tracking_uri, artifact_root, tags, parameters, metrics, data?,
started, finished?}`: `events` is the job's events.jsonl, `state` the status that MLflow shows,
`metrics` the job's summary, `data` what it trains on (`{name, sha256}`), times in seconds since the
epoch. result.json tells `{run_id, offset, state, points, seconds}`: how much of the events has been
told, in how many points, and the processor's seconds that it took.

It tells what is new and ends: MLflow takes 230 MB and three seconds of a core just to be there,
and a job may take a day. What MLflow has already is read from MLflow itself, so that nothing is
told twice, wherever an earlier worker was killed. The steps of a curve only ever rise: what a
resumed job repeats from its checkpoint on is there already.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.lean import begin
from phoundry.models.registry import JOB, Registry, load_mlflow
from phoundry.spool import Spool
from phoundry.worker import main

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The names of transformers' Trainer where it has one.
TRAINED = ("epoch", "loss", "learning_rate", "tokens_per_second", "mfu")
EVALUATED = ("epoch", "eval_loss", "eval_token_accuracy", "eval_f1", "eval_exact")
CURVES = {"progress": TRAINED, "evaluated": EVALUATED}
BEST_STEP = "phoundry.best_step"
_POINTS_A_CALL = 1000  # MLflow's limits
_PARAMETERS_A_CALL = 100
_LONGEST_TEXT = 5000
_KEY = re.compile(r"[\w.:/ -]{1,250}")  # of tags and parameters
_LIVES = ("RUNNING", "SCHEDULED")


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one curve; `time` in seconds since the epoch."""

    key: str
    value: float
    step: int
    time: float


def task(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """The worker's task (see `phoundry.worker`). What MLflow refuses is raised as it is."""
    load_mlflow()
    events, offset = Spool(Path(spec["events"])).read()
    registry = Registry(str(spec["tracking_uri"]), Path(spec["artifact_root"]))
    tags = {JOB: str(spec["job"]), **_texts(spec.get("tags")), **_best(events)}
    with registry.locked():
        found: Any = registry.run(str(spec["job"]), tags, {}, started=_ms(spec["started"]))
        run: Any = registry.client.get_run(found.info.run_id)
        _describe(registry.client, run, spec, tags, events)
        told = {metric.key: int(metric.step) for metric in run.data.to_proto().metrics}
        summary = [point for point in _summary(spec, events) if point.key not in told]
        points = [*rising(_points(events), told), *summary]
        for start in range(0, len(points), _POINTS_A_CALL):
            _log(registry.client, run.info.run_id, points[start : start + _POINTS_A_CALL])
        _set_state(registry.client, run, spec)
    return {
        "run_id": str(run.info.run_id),
        "offset": offset,
        "state": spec["state"],
        "points": len(points),
        "seconds": time.process_time(),
    }


def _points(events: Sequence[Mapping[str, Any]]) -> Iterator[Point]:
    """Every value of every curve, in the order in which they were told."""
    for event in events:
        for key in CURVES.get(event["kind"], ()):
            value = event.get(key)
            if value is not None:
                yield Point(key, float(value), int(event["step"]), float(event["time"]))


def _summary(spec: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Iterator[Point]:
    """What is known of an ended job as a whole, at its last step."""
    if spec["state"] in _LIVES:
        return
    curves = {*TRAINED, *EVALUATED}
    step = max((int(e["step"]) for e in events if e["kind"] in CURVES), default=0)
    metrics: dict[str, float | None] = spec.get("metrics") or {}
    for key, value in metrics.items():
        if key not in curves and value is not None:
            yield Point(key, float(value), step, float(spec["finished"]))


def rising(points: Iterable[Point], told: Mapping[str, int]) -> Iterator[Point]:
    """The points beyond the step up to which each curve is `told`."""
    reached = dict(told)
    for point in points:
        if point.step > reached.get(point.key, -1):
            reached[point.key] = point.step
            yield point


def _describe(
    client: MlflowClient,
    run: Any,
    spec: Mapping[str, Any],
    tags: Mapping[str, str],
    events: Sequence[Mapping[str, Any]],
) -> None:
    """Tags, parameters and data that the run lacks.

    Parameters wait until training starts: some are measured before, and MLflow takes each once.
    """
    from mlflow.entities import Param, RunTag

    new_tags = [RunTag(key, text) for key, text in tags.items() if run.data.tags.get(key) != text]
    client.log_batch(run.info.run_id, tags=new_tags[:_PARAMETERS_A_CALL])
    if any(event["kind"] == "started" for event in events):
        chosen = {e["name"]: e["value"] for e in events if e["kind"] == "choice"}
        wanted = _texts({**spec["parameters"], **chosen})
        new = [Param(key, wanted[key]) for key in sorted(wanted.keys() - run.data.params.keys())]
        for start in range(0, len(new), _PARAMETERS_A_CALL):
            client.log_batch(run.info.run_id, params=new[start : start + _PARAMETERS_A_CALL])
    if (data := spec.get("data")) and not run.inputs.dataset_inputs:
        _log_data(client, run.info.run_id, data)


def _log_data(client: MlflowClient, run_id: str, data: Mapping[str, str]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=data["name"], digest=data["sha256"][:36], source_type="phoundry", source=data["name"]
    )
    context = InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, [DatasetInput(dataset, [context])])


def _log(client: MlflowClient, run_id: str, points: Sequence[Point]) -> None:
    from mlflow.entities import Metric

    # MLflow keeps an infinite value as the largest float, which no chart survives.
    metrics = [
        Metric(p.key, p.value if math.isfinite(p.value) else math.nan, _ms(p.time), p.step)
        for p in points
    ]
    client.log_batch(run_id, metrics=metrics)


def _set_state(client: MlflowClient, run: Any, spec: Mapping[str, Any]) -> None:
    state, run_id = str(spec["state"]), str(run.info.run_id)
    if state not in _LIVES:
        client.set_terminated(run_id, state, end_time=_ms(spec["finished"]))
    elif run.info.status != state:
        client.update_run(run_id, status=state)


def _best(events: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    steps = [
        event["step"] for event in events if event["kind"] == "evaluated" and event.get("best")
    ]
    return {BEST_STEP: str(steps[-1])} if steps else {}


def _texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    """As MLflow takes them: texts, not too long, under keys that it knows how to write."""
    known = {str(key): str(value) for key, value in (values or {}).items()}
    return {key: text[:_LONGEST_TEXT] for key, text in known.items() if _KEY.fullmatch(key)}


def _ms(seconds: float) -> int:
    return int(float(seconds) * 1000)


def _behind_the_training(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    if spec["state"] == "RUNNING":
        os.nice(19)  # what trains has the cores first; at its end nobody has to make way
    return task(spec, run_dir, spool)


if __name__ == "__main__":
    # MLflow's own small installation (mlflow-skinny) does without these: half of its start, and
    # of its memory, for a worker that writes rows.
    begin("numpy", "pandas", "pyarrow", "scipy")
    main(_behind_the_training, lean=True)
