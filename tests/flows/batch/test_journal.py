"""The journal: whatever a kill leaves of it, whole records stand and the next one is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phoundry.flows.batch.journal import FAILED, Index, Journal, ended_lines, load_index, records
from phoundry.flows.batch.text import line_of

reusing = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
ends = st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.text()), min_size=1, max_size=20)


def record(number: int, good: bool, text: str) -> dict[str, Any]:
    status = "Completed" if good else "Failed"
    return {"line_number": number, "status": status, "output": {"text": text}}


@reusing
@given(ends, st.data())
def test_a_cut_loses_the_last_record_at_most(tmp_path: Path, told: Any, data: Any) -> None:
    path = tmp_path / "lines.jsonl"
    path.unlink(missing_ok=True)
    journal = Journal(path)
    for item in told:
        journal.add(record(*item))
    journal.flush()
    journal.close()
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = [found for _, found in records(path)]
    assert kept == [record(*item) for item in told][: whole[:cut].count(b"\n")]
    journal = Journal(path)
    journal.add(record(5, True, "next"))
    journal.flush()
    journal.close()
    assert [found for _, found in records(path)] == [*kept, record(5, True, "next")]


@reusing
@given(ends, st.lists(st.integers(0, 9), unique=True, min_size=1))
def test_the_last_record_of_a_line_counts(tmp_path: Path, told: Any, lines: list[int]) -> None:
    inputs, path = tmp_path / "inputs.jsonl", tmp_path / "lines.jsonl"
    inputs.write_bytes(b"".join(line_of({"line_number": number}) for number in sorted(lines)))
    path.write_bytes(b"".join(line_of(record(*item)) for item in told))
    index = load_index(inputs, path)
    last = {item[0]: record(*item) for item in told if item[0] in lines}
    assert list(ended_lines(index, path)) == [last[number] for number in sorted(last)]
    good = sum(found["status"] == "Completed" for found in last.values())
    assert (index.completed, index.failed) == (good, len(last) - good)
    assert index.left == len(lines) - len(last)
    index.reopen_failed()
    assert (index.failed, index.completed) == (0, good)
    assert FAILED not in index.states


def test_a_line_that_is_none_of_the_runs_is_passed_over() -> None:
    index = Index()
    for number in (2, 3, 7):
        index.add(number)
    index.mark(5, True, 0)
    index.mark(7, True, 0)
    assert (index.completed, index.left, index.place(5), index.place(7)) == (1, 2, None, 2)


def test_half_a_surrogate_pair_survives(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    journal = Journal(path)
    journal.add(record(0, True, "\ud83d"))
    journal.flush()
    journal.close()
    assert next(records(path))[1]["output"] == {"text": "\ud83d"}
