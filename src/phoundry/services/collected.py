"""What deployments were asked and answered, as their replicas wrote it (`replica/collector.py`)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from phoundry.errors import NotFound
from phoundry.services.context import Context
from phoundry.specs.collection import CollectedPage, Exchange

Collection = Literal["model_inputs", "model_outputs"]
_COLLECTIONS: tuple[Collection, ...] = ("model_inputs", "model_outputs")
SETTLED_SECONDS = 1.0  # replicas write what they have collected several times a second
PAGE = 200  # exchanges of one answer, unless the caller says otherwise


def page(
    context: Context,
    endpoint: str,
    name: str,
    *,
    since: datetime | None = None,
    after: str = "",
    limit: int = PAGE,
    settled: bool = False,
) -> CollectedPage:
    """The next `limit` exchanges in the order in which they were answered.

    Args:
        since: none that was answered before it.
        after: the `next` of the page before.
        settled: leave out those so young that another replica may yet write an older one; whoever
            goes on from page to page misses none then.

    Raises:
        NotFound: nothing was ever collected for a deployment of these names.
    """
    with context.begin("deployments/read"):
        folder = context.home.collected / endpoint / name
    if not folder.is_dir():
        raise NotFound(
            f"Nothing was collected of the deployment '{endpoint}/{name}'.",
            remedy="Its `data_collector` says what is kept: docs/how-to/collect-and-train.md.",
        )
    start = max(after, _place(since.timestamp(), "") if since else "")
    end = _place(time.time() - SETTLED_SECONDS, "") if settled else "~"
    found: list[tuple[str, Exchange]] = []
    for files in _stretches(folder, start):
        found += sorted(
            (each for each in _joined(files) if start < each[0] < end), key=lambda each: each[0]
        )
        if len(found) > limit:
            break
    taken = found[:limit]
    return CollectedPage(
        exchanges=[exchange for _, exchange in taken],
        next=taken[-1][0] if taken else start,
        finished=len(found) <= limit,
    )


def _stretches(folder: Path, start: str) -> Iterator[list[tuple[Collection, Path]]]:
    """The files of each stretch of time, oldest first; all at once where the rolling rate has
    changed, because stretches overlap then."""
    groups: dict[tuple[str, ...], list[tuple[Collection, Path]]] = {}
    for collection in _COLLECTIONS:
        for path in sorted((folder / collection).rglob("*.jsonl")):
            if start and _place(path.stat().st_mtime + SETTLED_SECONDS, "") < start:
                continue  # nothing in it is younger than its last write
            parts = path.parent.relative_to(folder / collection).parts
            groups.setdefault(parts, []).append((collection, path))
    if len({len(parts) for parts in groups}) > 1:
        yield [file for files in groups.values() for file in files]
        return
    for parts in sorted(groups):
        yield groups[parts]


def _joined(files: Iterable[tuple[Collection, Path]]) -> Iterator[tuple[str, Exchange]]:
    """Input and output of each request, by its id, with its place in the order."""
    sides: dict[tuple[str, str], dict[Collection, dict[str, Any]]] = {}
    for collection, path in files:
        for record in _records(path):
            key = (str(record.get("time")), str(record.get("correlationid")))
            sides.setdefault(key, {})[collection] = record
    for found in sides.values():
        record = next(iter(found.values()))
        try:
            when = datetime.fromisoformat(record["time"])
            exchange = Exchange(
                id=record["correlationid"],
                time=when,
                path=record.get("path", ""),
                model=record.get("modelversion", ""),
                request=_data(found.get("model_inputs")),
                answer=_data(found.get("model_outputs")),
            )
        except (KeyError, TypeError, ValueError):
            continue  # somebody else's line
        yield _place(when.timestamp(), exchange.id), exchange


def _place(seconds: float, request_id: str) -> str:
    """Sorts by time, to the millisecond, then by id."""
    return f"{round(seconds * 1000):015d}-{request_id}"


def _data(record: dict[str, Any] | None) -> dict[str, Any] | None:
    data = record.get("data") if record else None
    return data[0] if data else None


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Whole lines; a part that a kill has left is passed over."""
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return  # it is being written
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record  # pyright: ignore[reportUnknownVariableType]
