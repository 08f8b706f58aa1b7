"""Where records lie in a collected file: found once, and kept as the file grows or is replaced."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoundry.services import collected_index
from phoundry.services.collected_index import FileIndex, Indexes


def record(moment: int) -> bytes:
    when = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")
    value = {"time": when, "data": [{"n": moment}]}
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def moments(index: FileIndex, first: int = 0, last: int = 10**15) -> list[int]:
    found = [json.loads(line)["data"][0]["n"] for line in index.lines(first, last)]
    assert list(index.between(first, last)) == found
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 50), max_size=12),
    st.lists(st.integers(0, 50), max_size=12),
    st.integers(0, 50),
    st.integers(0, 50),
)
def test_it_finds_what_a_reader_of_all_lines_finds(
    tmp_path_factory: pytest.TempPathFactory, old: list[int], new: list[int], first: int, last: int
) -> None:
    path = tmp_path_factory.mktemp("collected") / "one.jsonl"
    path.write_bytes(b"".join(map(record, old)) + b"no record\n")
    index = Indexes().of(path)
    with path.open("ab") as file:
        file.write(b"".join(map(record, new)) + record(7)[:-1])  # the last is being written
    index.extend()
    wanted = [moment for moment in old + new if first <= moment <= last]
    assert moments(index, first, last) == wanted
    with path.open("ab") as file:
        file.write(b"\n")
    index.extend()
    assert moments(index) == [*old, *new, 7]


def test_only_what_was_added_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    read = collected_index.moment_of

    def noted(line: bytes) -> int | None:
        seen.append(line)
        return read(line)

    monkeypatch.setattr(collected_index, "moment_of", noted)
    path = tmp_path / "one.jsonl"
    path.write_bytes(b"".join(map(record, range(5))))
    known = Indexes()
    assert moments(known.of(path)) == [0, 1, 2, 3, 4]
    assert len(seen) == 5
    known.of(path)
    assert len(seen) == 5
    with path.open("ab") as file:
        file.write(record(9))
    assert moments(known.of(path)) == [0, 1, 2, 3, 4, 9]
    assert seen[5:] == [record(9)]


def test_a_file_that_is_another_now_is_read_anew(tmp_path: Path) -> None:
    path, known = tmp_path / "one.jsonl", Indexes()
    path.write_bytes(record(1) + record(2))
    assert moments(known.of(path)) == [1, 2]
    path.write_bytes(record(3))  # cut
    assert moments(known.of(path)) == [3]
    (tmp_path / "new").write_bytes(record(4) + record(5))
    (tmp_path / "new").replace(path)
    assert moments(known.of(path)) == [4, 5]


def test_what_was_asked_for_longest_ago_is_forgotten(tmp_path: Path) -> None:
    known = Indexes(records=5)
    paths = [tmp_path / f"{name}.jsonl" for name in "abc"]
    for path in paths:
        path.write_bytes(b"".join(map(record, range(2))))
        assert moments(known.of(path)) == [0, 1]
    assert known.files == paths[1:]
    many = tmp_path / "many.jsonl"
    many.write_bytes(b"".join(map(record, range(50))))
    assert len(known.of(many)) == 50  # alone it may have more
    assert known.files == [many]
