"""What deployments were asked and answered, as their replicas wrote it (`replica/collector.py`)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from phoundry.errors import NotFound
from phoundry.services.collected_index import FileIndex, Indexes, milliseconds
from phoundry.services.context import Context
from phoundry.specs.collection import CollectedPage, Exchange

Collection = Literal["model_inputs", "model_outputs"]
_COLLECTIONS: tuple[Collection, ...] = ("model_inputs", "model_outputs")
SETTLED_SECONDS = 1.0  # replicas write what they have collected several times a second
_PLACE = re.compile(r"(\d{15,18})(?:-|$)")
_NEVER = 2**62  # milliseconds
_INDEXES = Indexes()
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
        found += _first(files, start, end, limit + 1 - len(found))
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


def _first(
    files: Sequence[tuple[Collection, Path]], start: str, end: str, number: int
) -> list[tuple[str, Exchange]]:
    """The first `number` exchanges between `start` and `end`, and perhaps some more, in order.

    Only the lines of this page are read and parsed; `collected_index` knows where they are.
    """
    indexes: list[tuple[Collection, FileIndex]] = [
        (collection, _INDEXES.of(path)) for collection, path in files
    ]
    since, until = _from(start), _to(end)
    moments = sorted(moment for _, index in indexes for moment in index.between(since, until))
    wanted = 2 * number  # lines: each exchange has two at most
    while True:
        last = moments[wanted] if wanted < len(moments) else _NEVER
        joined = (each for each in _joined(indexes, since, last) if start < each[0] < end)
        found = sorted(joined, key=lambda each: each[0])
        if len(found) >= number or last == _NEVER:
            return found
        wanted *= 2  # some were somebody else's


def _from(start: str) -> int:
    """The first moment that may have places after `start`."""
    match = _PLACE.match(start)
    if match is not None:
        return int(match[1])
    return -_NEVER if start < "0" else _NEVER


def _to(end: str) -> int:
    """The last moment that may have places before `end`."""
    match = _PLACE.match(end)
    return int(match[1]) if match is not None else _NEVER


def _joined(
    files: Iterable[tuple[Collection, FileIndex]], first: int, last: int
) -> Iterator[tuple[str, Exchange]]:
    """Input and output of each request, by its id, with its place in the order: of the moments from
    `first` to `last`."""
    sides: dict[tuple[str, str], dict[Collection, dict[str, Any]]] = {}
    for collection, index in files:
        for record in _records(index.lines(first, last)):
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
    return f"{milliseconds(seconds):015d}-{request_id}"


def _data(record: dict[str, Any] | None) -> dict[str, Any] | None:
    data = record.get("data") if record else None
    return data[0] if data else None


def _records(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record  # pyright: ignore[reportUnknownVariableType]
