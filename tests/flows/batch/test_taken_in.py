"""Runs of Prompt flow's, kept as runs of this home.

The folder is laid out, and its rows written, as observed of promptflow 1.18.5 for a flow that
halves `n` and fails for 3; of `error.json` what is read is kept, word for word.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.errors import Conflict, InvalidInput, NotFound
from phoundry.flows.batch.foreign import ForeignRun, read_run
from phoundry.flows.batch.reading import details
from phoundry.flows.batch.store import RunStore
from phoundry.flows.batch.taken import refuse_taken_in, sources_of
from phoundry.flows.batch.taken_in import take_in

MESSAGE = "Execution failure in 'halve': (ValueError) three"
ERROR = {
    "message": f"Failed to run 1/3 lines. First error message is: {MESSAGE}",
    "code": "UserError",
    "innerError": {"code": "SDKError", "innerError": {"code": "BulkRunException"}},
    "additionalInfo": [
        {
            "type": "BulkRunErrors",
            "info": {
                "errors": [
                    {
                        "line_number": 2,
                        "error": {
                            "message": MESSAGE,
                            "messageFormat": "Execution failure in '{node_name}'.",
                            "messageParameters": {"node_name": "halve"},
                            "referenceCode": "Tool/__pf_main__",
                            "code": "UserError",
                            "innerError": {"code": "ToolExecutionError", "innerError": None},
                            "additionalInfo": [
                                {
                                    "type": "ToolExecutionErrorDetails",
                                    "info": {"type": "ValueError", "message": "three"},
                                }
                            ],
                        },
                    }
                ]
            },
        }
    ],
}
COLUMNS = (
    "name", "type", "created_on", "status", "display_name", "description", "tags", "properties",
    "archived", "start_time", "end_time", "data", "run_source", "portal_url",
)  # fmt: skip


def written(root: Path, *, known: bool = True) -> Path:
    """`.runs/src1` below `root`, and the `pf.sqlite` above it."""
    path = root / ".runs" / "src1"
    snapshot = path / "snapshot"
    snapshot.mkdir(parents=True)
    (path / "inputs.jsonl").write_text(
        '{"n":1,"line_number":0}\n{"n":2,"line_number":1}\n{"n":3,"line_number":2}\n'
    )
    (path / "outputs.jsonl").write_text(
        '{"half":0.5,"line_number":0}\n{"half":1.0,"line_number":1}\n'
    )
    (path / "error.json").write_text(json.dumps(ERROR))
    (path / "metrics.json").write_text('{"mean": 0.75}')
    (path / "logs.txt").write_text(
        "2026-11-23 07:58:28 execution.bulk INFO Finished 3 / 3 lines.\n"
    )
    (path / "flow_artifacts").mkdir()
    (snapshot / "flow.dag.yaml").write_text("inputs: {}\noutputs: {}\nnodes: []\n")
    (snapshot / ".env").write_text("KEY=canary-7713")
    if known:
        properties = {"flow_path": "/gone/flow", "column_mapping": {"n": "${data.n}"}}
        row = (
            "src1", "batch", "2026-11-23T07:58:14.352740+00:00", "Completed", "Src", None,
            '{"a": "b"}', json.dumps(properties), 1, "2026-11-23T07:58:22.161176+00:00",
            "2026-11-23T07:58:29.161176+00:00", "/data/data.jsonl", "local", None,
        )  # fmt: skip
        with sqlite3.connect(root / "pf.sqlite") as database:
            database.execute(f"create table run_info ({', '.join(COLUMNS)})")
            marks = ", ".join("?" * len(row))
            database.execute(f"insert into run_info values ({marks})", row)
        database.close()
    return path


def test_history_survives_the_move(tmp_path: Path, store: RunStore) -> None:
    record = take_in(store, read_run(written(tmp_path)))
    folder, kept = store.read("src1")
    assert kept == record
    assert (kept.status, kept.display_name, kept.tags, kept.seconds) == (
        "Completed", "Src", {"a": "b"}, 7.0,
    )  # fmt: skip
    assert (kept.lines.total, kept.lines.completed, kept.lines.failed) == (3, 2, 1)
    assert kept.metrics == {"mean": 0.75}
    assert kept.column_mapping == {"n": "${data.n}"}
    assert kept.flow == str(folder.snapshot / "flow.dag.yaml")  # where it was, there is nothing
    lines = list(details(folder))
    assert [line["outputs"] for line in lines] == [{"half": 0.5}, {"half": 1.0}, {}]
    assert lines[2]["error"]["codes"] == ["UserError", "ToolExecutionError"]
    assert lines[2]["error"]["message"] == MESSAGE
    assert json.loads(folder.errors.read_text())["additionalInfo"][0]["info"]["errors"]
    assert "Finished 3 / 3" in folder.log.read_text()
    assert not (folder.snapshot / ".env").exists()
    assert [json.loads(line) for line in sources_of(store, None, "src1")["run.outputs"].open()] == [
        {"line_number": 0, "half": 0.5}, {"line_number": 1, "half": 1.0},
    ]  # fmt: skip


def test_it_is_kept_as_it_was(tmp_path: Path, store: RunStore) -> None:
    source = written(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    record = take_in(store, read_run(source), "mine")
    with pytest.raises(Conflict, match="made by Prompt flow"):
        refuse_taken_in(record)
    with pytest.raises(Conflict, match="already"):
        take_in(store, read_run(source), "mine")
    assert before.items() <= {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}.items()


def test_a_folder_alone_and_a_downloaded_run(tmp_path: Path, store: RunStore) -> None:
    source = written(tmp_path, known=False)
    (source / "outputs.jsonl").unlink()
    (source / "flow_outputs").mkdir()
    (source / "flow_outputs" / "output.jsonl").write_text('{"line_number": 0, "half": 0.5}\n')
    record = take_in(store, read_run(source))
    assert (record.status, record.lines.left) == ("Canceled", 1)  # line 1 had not ended
    assert any("not known" in notice for notice in record.notices)
    facts: dict[str, Any] = {
        "name": "cloud",
        "status": "Completed",
        "tags": {},
        "created_on": "2024-03-01T10:00:00",
    }
    (source / "run_metadata.json").write_text(json.dumps(facts))
    record = take_in(store, read_run(source))
    assert (record.name, record.created) == ("cloud", "2024-03-01T10:00:00+00:00")


def test_every_fault_at_once_and_nothing_left(tmp_path: Path, store: RunStore) -> None:
    source = written(tmp_path)
    (source / "inputs.jsonl").write_text(
        '{"n":1,"line_number":0}\nnonsense\n{"line_number":0}\n[]\n'
    )
    (source / "outputs.jsonl").write_text('{"line_number": "x"}\n{"line_number": 9}\n')
    (source / "metrics.json").write_text("[]")
    with pytest.raises(InvalidInput) as caught:
        read_run(source)
    places = [fault.where for fault in caught.value.faults]
    assert places[:5] == [
        "inputs.jsonl:2", "inputs.jsonl:3", "inputs.jsonl:4", "outputs.jsonl:1", "metrics.json",
    ]  # fmt: skip
    assert not list(store)
    with pytest.raises(NotFound, match="no inputs"):
        read_run(tmp_path)


def test_a_write_that_fails_leaves_no_run(
    tmp_path: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("phoundry.flows.batch.taken_in._write_snapshot", fail)
    with pytest.raises(OSError, match="disk full"):
        take_in(store, read_run(written(tmp_path)))
    assert not (store.root / "src1").exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["additionalInfo", "message", "code"]), JSON),
    st.dictionaries(st.sampled_from(["tags", "properties", "status", "created_on"]), JSON),
)
def test_no_document_breaks_the_reading(
    tmp_path_factory: pytest.TempPathFactory, error: Any, facts: Any
) -> None:
    root = tmp_path_factory.mktemp("odd")
    (root / "inputs.jsonl").write_text('{"n": 1, "line_number": 0}\n')
    (root / "error.json").write_text(json.dumps(error))
    (root / "run_metadata.json").write_text(json.dumps(facts))
    run = read_run(root)
    assert isinstance(run, ForeignRun)
    assert take_in(RunStore(root / "runs"), run, "one").lines.total == 1
