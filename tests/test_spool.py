"""Event files that two processes share, both of which may be killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.spool import Spool


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
