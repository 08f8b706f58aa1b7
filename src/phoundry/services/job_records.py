"""What a job's process leaves in its folder: curves, samples, checkpoints, output."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from phoundry.files import read_json
from phoundry.specs.job import JobCheckpoint, MetricPoint, SampleGeneration
from phoundry.spool import Spool

MOST_POINTS = 2_000  # of a curve; more cannot be told apart on a screen
PREFIX = "step-"
BEST = "best"
_CURVES = tuple(MetricPoint.model_fields)


def curves(run_dir: Path, limit: int = MOST_POINTS) -> list[MetricPoint]:
    """What was measured at each step, by step; thinned to about `limit` entries."""
    return thinned(merged(_events(run_dir)), limit)


def merged(events: Iterable[dict[str, Any]]) -> list[MetricPoint]:
    """One entry a step, of `progress` and `evaluated` events.

    A run that was killed goes on from its last checkpoint, which lies before what it had told last.
    So what it had told of later steps is forgotten when it starts again.
    """
    points: dict[int, dict[str, Any]] = {}
    fresh = False  # whether the worker has only just started
    for event in events:
        if event["kind"] == "started":
            fresh = True
        if event["kind"] not in ("progress", "evaluated") or "step" not in event:
            continue
        step = int(event["step"])
        if fresh:
            points = {each: point for each, point in points.items() if each <= step}
            fresh = False
        known = {name: _number(event[name]) for name in _CURVES if name in event}
        if event["kind"] == "progress":
            # Repeated from the evaluation before, which may be many steps back.
            known.pop("eval_loss", None)
            known.pop("eval_token_accuracy", None)
        points.setdefault(step, {}).update({**known, "step": step})
    return [MetricPoint.model_validate(points[step]) for step in sorted(points)]


def thinned(points: list[MetricPoint], limit: int) -> list[MetricPoint]:
    """At most `limit` (two or more) of them, evenly, the first and the last among them.

    Evaluations all stay where they are no more than half of that.
    """
    if len(points) <= limit:
        return points
    evaluated = [point for point in points if point.eval_loss is not None]
    if not evaluated or len(evaluated) > min(limit // 2, limit - 2):
        return _evenly(points, limit)
    others = [point for point in points if point.eval_loss is None]
    kept = [*evaluated, *_evenly(others, limit - len(evaluated))]
    return sorted(kept, key=lambda point: point.step)


def _evenly(points: list[MetricPoint], count: int) -> list[MetricPoint]:
    """`count` of the points, among them the first and the last."""
    last = len(points) - 1
    return [points[round(place * last / (count - 1))] for place in range(count)]


def samples(run_dir: Path, step: int | None = None) -> list[SampleGeneration]:
    """The answers of the newest evaluation, or of the one at `step`; each prompt once."""
    found: dict[int, dict[str, SampleGeneration]] = {}
    newest = None
    for event in _events(run_dir):
        if event["kind"] == "sample":
            sample = SampleGeneration.model_validate(event)
            newest = sample.step
            found.setdefault(newest, {})[sample.prompt] = sample
    asked = newest if step is None else step
    return list(found.get(asked, {}).values()) if asked is not None else []


def checkpoints(run_dir: Path) -> list[JobCheckpoint]:
    """What the job can go on from, oldest first; the best one is marked."""
    folder = run_dir / "checkpoints"
    if not folder.is_dir():
        return []
    best = (folder / BEST).resolve().name  # a link
    found: list[JobCheckpoint] = []
    for path in folder.iterdir():
        number = path.name.removeprefix(PREFIX)
        if path.name.startswith(PREFIX) and number.isdigit():
            with suppress(FileNotFoundError):  # the worker has just removed it
                found.append(_checkpoint(path, int(number), best=path.name == best))
    return sorted(found, key=lambda each: each.step)


def goes_on_from(run_dir: Path, parameters: Mapping[str, Any]) -> int | None:
    """The step that the job goes on from when it is resumed; None if it begins anew."""
    if not parameters.get("resume_from_checkpoint", True):
        return None
    kept = checkpoints(run_dir)
    return kept[-1].step if kept else None


def nothing_written(run_dir: Path, parameters: Mapping[str, Any]) -> list[str]:
    """A notice about a cancelled job without an output that has states to go on from."""
    if goes_on_from(run_dir, parameters) is None:
        return []
    return [
        "Cancelled before its process could write an output, so it has none. To register its best "
        "state, resume it, and cancel it once it trains."
    ]


def kept_output(run_dir: Path) -> Path | None:
    """The output that a cancelled job's process says that it wrote, if it is there."""
    result: dict[str, Any] = read_json(run_dir / "result.json") or {}
    if not result.get("output"):
        return None
    output = run_dir / "output"
    return output if any((output / name).is_dir() for name in ("adapter", "model")) else None


def _checkpoint(path: Path, step: int, *, best: bool) -> JobCheckpoint:
    files = [file.stat() for file in path.iterdir() if file.is_file()]
    return JobCheckpoint(
        step=step,
        best=best,
        bytes=sum(file.st_size for file in files),
        time=datetime.fromtimestamp(max((file.st_mtime for file in files), default=0), UTC),
        path=str(path),
    )


def _events(run_dir: Path) -> Iterator[dict[str, Any]]:
    yield from Spool(run_dir / "events.jsonl").read()[0]


def _number(value: Any) -> Any:
    """None for what JSON has not: a training that diverged measures NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
