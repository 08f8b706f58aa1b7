"""What `pf run create` of promptflow 1.18.5 gave, case by case, and what we give.

`observed.jsonl`: the files of a flow and its data, the mapping, and Prompt flow's outputs, metrics
and codes of errors, by line.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from phoundry.flows.batch.reading import details
from phoundry.flows.batch.store import RunStore
from phoundry.flows.errors import FlowError
from tests.flows.batch.conftest import Ran, run_here

CASES = Path(__file__).with_name("observed.jsonl")
Case = dict[str, Any]


@cache
def cases() -> dict[str, Case]:
    return {case["id"]: case for case in map(json.loads, CASES.read_text().splitlines())}


def run_case(case: Case, store: RunStore, folder: Path) -> Ran:
    """Run `case`, and the one that it reads before it."""
    if before := case.get("run"):
        run_case(cases()[before], store, folder)
    place = folder / case["id"]
    for name, text in {**case["files"], **case["data"]}.items():
        path = place / ("flow" if name in case["files"] else "data") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    data = next((place / "data" / name for name in case["data"]), None)
    return run_here(
        store,
        place / "flow",
        data,
        case["id"],
        mapping=case["column_mapping"],
        run=before,
        init=case.get("init"),
    )


@pytest.mark.parametrize("id", cases())
def test_as_prompt_flow(id: str, store: RunStore, tmp_path: Path) -> None:
    case = cases()[id]
    expected = case["expected"]
    if expected["refused"]:
        with pytest.raises(FlowError) as caught:
            run_case(case, store, tmp_path)
        assert expected["refused"] in caught.value.codes
        return
    ran = run_case(case, store, tmp_path)
    assert ran.record.status == expected["status"] == "Completed"
    outputs = [json.loads(line) for line in ran.folder.outputs.read_text().splitlines()]
    assert outputs == expected["outputs"]
    assert ran.record.metrics == expected["metrics"]
    failed = {
        line["line_number"]: line["error"]["codes"] for line in details(ran.folder, failed=True)
    }
    of_lines = {number: code for number, code in expected["errors"] if number is not None}
    assert failed.keys() == of_lines.keys()
    assert all(code in failed[number] for number, code in of_lines.items())
    of_aggregation = [code for number, code in expected["errors"] if number is None]
    found = ran.record.aggregation_error
    assert bool(found) == bool(of_aggregation)
    assert all(code in (found or {})["codes"] for code in of_aggregation)
