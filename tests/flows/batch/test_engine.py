"""A run from its data to its files: order, failures, interruption, what goes on and what stays."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import Conflict, NotFound, Unavailable
from phoundry.flows.batch import engine, work
from phoundry.flows.batch.engine import Pool
from phoundry.flows.batch.errors import ApplyInputMappingError
from phoundry.flows.batch.journal import Journal
from phoundry.flows.batch.reading import details
from phoundry.flows.batch.store import RunStore
from phoundry.flows.batch.work import Work, index_of
from phoundry.flows.load import load_flow
from tests.flows.batch.conftest import RunFlow


def numbers(tmp_path: Path, count: int) -> Path:
    path = tmp_path / "numbers.jsonl"
    path.write_text("".join(json.dumps({"n": n, "word": f"w{n}"}) + "\n" for n in range(count)))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_files_are_in_the_order_of_the_lines_however_they_end(
    run_flow: RunFlow, tmp_path: Path
) -> None:
    ran = run_flow(numbers(tmp_path, 20), seed=7)
    assert ran.pool.seen != sorted(ran.pool.seen)
    good = [n for n in range(20) if n % 5 != 3]
    assert lines(ran.folder.outputs) == [{"line_number": n, "half": n / 2} for n in good]
    assert ran.folder.flow_outputs.read_bytes() == ran.folder.outputs.read_bytes()
    # An input with a default takes no column unless it is mapped, as in Prompt flow.
    assert lines(ran.folder.inputs)[2] == {"line_number": 2, "word": "a", "n": 2}
    counts = ran.record.lines
    assert (ran.record.status, counts.total, counts.completed, counts.failed) == (
        "Completed",
        20,
        16,
        4,
    )
    assert ran.record.metrics == {"mean": sum(n / 2 for n in good) / 16, "lines": 16}
    assert json.loads(ran.folder.metrics.read_text()) == ran.record.metrics
    assert (ran.folder.snapshot / "half.py").is_file()


def test_errors_are_told_as_prompt_flow_tells_them(run_flow: RunFlow, tmp_path: Path) -> None:
    ran = run_flow(numbers(tmp_path, 10))
    told = json.loads(ran.folder.errors.read_text())
    assert told["message"] == (
        "Failed to run 2/10 lines. First error message is: Execution failure in 'half': "
        "(ValueError) no half of 3"
    )
    assert told["innerError"]["innerError"]["code"] == "BulkRunException"
    failed = told["additionalInfo"][0]["info"]["errors"]
    assert [item["line_number"] for item in failed] == [3, 8]
    assert failed[0]["error"]["code"] == "UserError"
    assert failed[0]["error"]["innerError"] == {"code": "ToolExecutionError", "innerError": None}
    assert ran.folder.log.read_text().splitlines()[4] == "[line 4] line 4"


def test_a_run_without_failures_has_no_error_file(run_flow: RunFlow, tmp_path: Path) -> None:
    ran = run_flow(numbers(tmp_path, 3))
    assert not ran.folder.errors.exists()
    assert ran.record.lines.failed == 0


def test_an_interrupted_run_goes_on_where_it_was(run_flow: RunFlow, tmp_path: Path) -> None:
    data = numbers(tmp_path, 20)
    whole = run_flow(data, name="whole")
    cut = run_flow(data, name="cut", seed=3, stop_after=9)
    assert (cut.record.status, cut.record.lines.completed + cut.record.lines.failed) == (
        "Canceled",
        9,
    )
    data.unlink()  # what a run began with, it keeps
    rest = run_flow(name="cut", resume=True)
    assert sorted([*cut.pool.seen, *rest.pool.seen]) == list(range(20))
    assert rest.record.status == "Completed"
    assert rest.folder.outputs.read_bytes() == whole.folder.outputs.read_bytes()
    assert rest.record.metrics == whole.record.metrics


def test_failed_lines_are_run_again_when_asked(
    run_flow: RunFlow, flow: Path, tmp_path: Path
) -> None:
    run_flow(numbers(tmp_path, 10))
    again = run_flow(resume=True)
    assert again.pool.seen == []
    tool = flow / "half.py"
    tool.write_text(tool.read_text().replace("n % 5 == 3", "n == 3"))
    fixed = run_flow(resume=True, retry=True)
    assert fixed.pool.seen == [3, 8]
    assert (fixed.record.lines.completed, fixed.record.lines.failed) == (9, 1)
    assert [line["line_number"] for line in lines(fixed.folder.outputs)] == [
        *range(3),
        *range(4, 10),
    ]
    assert fixed.record.metrics["lines"] == 9
    assert "n == 3" in (fixed.folder.snapshot / "half.py").read_text()


def test_values_that_stayed_in_a_process_are_made_again(run_flow: RunFlow, tmp_path: Path) -> None:
    cut = run_flow(numbers(tmp_path, 4), kept=True, stop_after=3)
    shown = [line["status"] for line in details(cut.folder)]
    assert shown == [*["Completed"] * 3, "NotStarted"]
    again = run_flow(resume=True)
    assert again.pool.seen == [0, 1, 2, 3]


def test_rows_that_lack_a_column_fail_alone(run_flow: RunFlow, tmp_path: Path) -> None:
    data = tmp_path / "mixed.jsonl"
    data.write_text('{"n": 0}\n{"m": 1}\n{"n": 2}\n')
    ran = run_flow(data)
    found = list(details(ran.folder))
    assert [line["status"] for line in found] == ["Completed", "Failed", "Completed"]
    assert found[1]["error"]["codes"][-1] == "ApplyInputMappingError"
    assert ran.pool.seen == [0, 2]


def test_a_column_that_is_nowhere_leaves_no_run(
    run_flow: RunFlow, store: RunStore, tmp_path: Path
) -> None:
    with pytest.raises(ApplyInputMappingError) as caught:
        run_flow(numbers(tmp_path, 3), mapping={"n": "${data.m}", "word": "${data.word}"})
    assert "${data.m}" in str(caught.value)
    assert "${data.n}" in str(caught.value)  # what there is instead
    assert list(store) == []
    assert list(store.root.iterdir()) == []


def test_a_run_that_was_killed_too_early(
    run_flow: RunFlow, store: RunStore, tmp_path: Path
) -> None:
    ran = run_flow(numbers(tmp_path, 2))
    ran.folder.inputs.unlink()
    with pytest.raises(Conflict, match="before it knew its lines"):
        run_flow(resume=True)
    assert list(details(ran.folder)) == []
    store.delete("r")


def test_one_process_works_on_a_run(run_flow: RunFlow, tmp_path: Path) -> None:
    ran = run_flow(numbers(tmp_path, 2))
    with ran.folder.held():
        assert ran.folder.busy
        with pytest.raises(Conflict, match="Another process"), ran.folder.held():
            pass
    assert not ran.folder.busy


def test_a_run_whose_process_was_killed_says_so(run_flow: RunFlow, tmp_path: Path) -> None:
    ran = run_flow(numbers(tmp_path, 2))
    ran.record.status = "Running"
    ran.folder.write(ran.record)
    with ran.folder.held():
        assert ran.folder.read().status == "Running"  # pyright: ignore[reportOptionalMemberAccess]
    assert ran.folder.read().status == "Canceled"  # pyright: ignore[reportOptionalMemberAccess]


def test_a_full_disk_leaves_a_run_that_goes_on(
    run_flow: RunFlow, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, flushed = Journal.flush, list[int]()

    def full(journal: Journal) -> None:
        flushed.append(1)
        if len(flushed) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(journal)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "GROUP_SECONDS", 0.0)
        patch.setattr(Journal, "flush", full)
        with pytest.raises(Unavailable, match="No space left") as caught:
            run_flow(numbers(tmp_path, 10))
    assert "phoundry run resume r" in str(caught.value)
    assert store.read("r")[1].status == "Canceled"
    rest = run_flow(resume=True)
    assert rest.pool.seen == list(range(1, 10))
    assert [line["line_number"] for line in lines(rest.folder.outputs)] == [
        n for n in range(10) if n % 5 != 3
    ]


def test_a_disk_that_is_full_from_the_start_leaves_no_run(
    run_flow: RunFlow, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(work, "keep_snapshot", full)
    with pytest.raises(Unavailable, match="No space left"):
        run_flow(numbers(tmp_path, 3))
    assert list(store.root.iterdir()) == []


def test_what_a_run_gave_stays_where_it_cannot_go_on(run_flow: RunFlow, tmp_path: Path) -> None:
    ran = run_flow(numbers(tmp_path, 5))
    given = ran.folder.outputs.read_bytes()

    @contextmanager
    def closed() -> Generator[Pool]:
        raise NotFound("There is no connection 'c'.")
        yield  # pyright: ignore[reportUnreachable]

    flow = load_flow(ran.record.flow)
    with ran.folder.held(), pytest.raises(NotFound):
        Work(ran.folder, ran.record, flow, closed).go_on(index_of(ran.folder), retry_failed=True)
    assert ran.folder.outputs.read_bytes() == given
    assert ran.folder.flow_outputs.read_bytes() == given


def test_half_a_character_in_a_record(run_flow: RunFlow, flow: Path, tmp_path: Path) -> None:
    with (flow / "mean.py").open("a") as file:
        file.write('    raise ValueError("bad \\ud800")\n')
    ran = run_flow(numbers(tmp_path, 3))
    record = ran.folder.read()
    assert record is not None
    assert record.status == "Completed"
    assert "bad \ud800" in (record.aggregation_error or {})["message"]
