"""Every shared case: what Prompt flow 1.18.5 was observed to do, flows here do too."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phoundry.flows import FlowError, FlowSession, failure, load_flow
from phoundry.flows.executor import Executor, surroundings
from phoundry.specs.flow import FlowResult
from tests.flows.conftest import Connections

# Cases of this project, observed with the same Prompt flow and kept in the same form.
OWN = Path(__file__).with_name("observed.jsonl")
CASES = Path(__file__).parents[3] / "shared" / "conformance" / "promptflow_probes.jsonl"


def cases() -> list[Any]:
    """One parameter a case; where the file is absent, one that is skipped and says so."""
    if not CASES.exists():
        absent = pytest.mark.skip(reason=f"the shared cases are not beside the project: {CASES}")
        return [pytest.param({}, id="absent", marks=absent)]
    return [pytest.param(row, id=f"{row['id']}-{row['feature']}") for row in rows(CASES)]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def in_session(path: Path, inputs: dict[str, Any]) -> FlowResult:
    try:
        with FlowSession(path, connections=Connections(), timeout=60) as session:
            return session.run(inputs)
    except FlowError as error:
        return failure(error)


def in_process(path: Path, inputs: dict[str, Any]) -> FlowResult:
    try:
        flow = load_flow(path)
        with surroundings(flow):
            return FlowResult.model_validate(Executor(flow).run(inputs).to_dict())
    except FlowError as error:
        return failure(error)


@pytest.mark.parametrize("case", cases())
def test_shared_case(case: dict[str, Any], tmp_path: Path) -> None:
    check(case, tmp_path, in_session)


@pytest.mark.parametrize("case", [pytest.param(row, id=row["id"]) for row in rows(OWN)])
def test_own_case(case: dict[str, Any], tmp_path: Path) -> None:
    check(case, tmp_path, in_process)


def check(case: dict[str, Any], tmp_path: Path, run: Callable[..., FlowResult]) -> None:
    for name, content in case["files"].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    result = run(tmp_path / case["file"], case["inputs"])
    expected = case.get("expected_output")
    if expected is None:
        assert result.status == "Failed"
        assert result.error is not None
        assert case["expected_error"]["codes"][-1] in result.error["codes"]
        return
    assert result.status == expected["status"], result.error
    if not case["deterministic"]:
        return
    assert same(result.output, expected["output"]), (result.output, expected["output"])
    assert result.nodes == expected.get("nodes", {})


def same(ours: Any, theirs: Any) -> bool:
    """Equality, with nan equal to nan and no `True == 1`."""
    if isinstance(ours, float) and isinstance(theirs, float) and math.isnan(theirs):
        return math.isnan(ours)
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


def test_every_shared_case_is_collected() -> None:
    if not CASES.exists():
        pytest.skip(f"the shared cases are not beside the project: {CASES}")
    assert len(cases()) == len(rows(CASES)) >= 67
