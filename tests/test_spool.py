"""Event files that two processes share, both of which may be killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.spool import BoundedSpool, Spool


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "events.jsonl")
    assert spool.read() == ([], 0)
    spool.append("progress", step=1)
    events, offset = spool.read()
    assert [(event["kind"], event["step"]) for event in events] == [("progress", 1)]
    spool.append("progress", step=2)
    assert [event["step"] for event in spool.read(offset)[0]] == [2]


@given(cut=st.integers(0, 200))
def test_a_torn_line_loses_only_itself(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """A worker was killed, or the disk was full, in the middle of a line; the next one goes on."""
    path = tmp_path_factory.mktemp("spool") / "events.jsonl"
    spool = Spool(path)
    spool.append("first")
    _, offset = spool.read()
    spool.append("torn", message="ü\x85x\u2028" * 9)
    content = path.read_bytes()
    path.write_bytes(content[: min(len(content), offset + cut)])
    taken, offset = spool.read(offset)
    spool.append("next")
    later, offset = spool.read(offset)
    kinds = [event["kind"] for event in [*taken, *later]]
    assert kinds in (["next"], ["torn", "next"])
    assert offset == path.stat().st_size


def test_the_newest_event_is_found_at_the_end_of_a_long_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "events.jsonl")
    assert spool.latest("progress") == {}
    for step in range(100):
        spool.append("progress", step=step, said="ü" * 30)
    spool.append("notice", message="between")
    assert spool.latest("progress", within=500)["step"] == 99
    assert spool.latest("notice", within=500)["message"] == "between"
    assert spool.latest("progress", within=20) == {}  # only a part of a line
    assert spool.latest("progress", since=spool.latest("notice")["time"] + 1) == {}


def _drain(spool: BoundedSpool) -> list[int]:
    found: list[int] = []
    while True:
        events, place = spool.read()
        if not events:
            return found
        found += [event["number"] for event in events]
        spool.taken(place)


@given(st.lists(st.integers(0, 30), max_size=12))
def test_a_bounded_spool_gives_each_event_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, amounts: list[int]
) -> None:
    """Between two looks as many events as `amounts` says; the worker starts anew each time."""
    folder, written, found = tmp_path_factory.mktemp("spool") / "traces", 0, list[int]()
    for amount in amounts:
        writing = BoundedSpool(folder, size=300, files=4)
        for _ in range(amount):
            writing.append("trace", number=written)
            written += 1
        found += _drain(BoundedSpool(folder))
        if amount <= 10:  # fewer than fill four files
            assert found[-1:] == [written - 1][: len(found)]
    assert found == sorted(set(found))
    assert len(list(folder.glob("*.jsonl"))) <= 2


def test_a_bounded_spool_that_nobody_reads_keeps_the_newest(tmp_path: Path) -> None:
    spool = BoundedSpool(tmp_path / "traces", size=1000, files=3)
    for number in range(500):
        spool.append("trace", number=number)
    files = list((tmp_path / "traces").glob("*.jsonl"))
    assert len(files) <= 3
    assert sum(file.stat().st_size for file in files) < 3200
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    found = _drain(spool)
    assert found == list(range(500 - len(found), 500))
    assert len(found) > 20


def test_what_was_not_marked_as_taken_comes_again(tmp_path: Path) -> None:
    spool = BoundedSpool(tmp_path / "traces")
    assert spool.read() == ([], (1, 0))
    spool.append("trace", number=1)
    assert [event["number"] for event in spool.read()[0]] == [1]
    events, place = BoundedSpool(tmp_path / "traces").read()
    assert [event["number"] for event in events] == [1]
    spool.taken(place)
    assert spool.read()[0] == []
