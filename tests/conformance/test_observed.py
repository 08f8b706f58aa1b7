"""Some nine hundred small flows, a topic a file: what Prompt flow 1.18.5 was observed to do, and
that flows here do the same. Where they do otherwise on purpose, the row says `ours` and why.

A row is a shared case (see `test_promptflow`) with more keys where it needs them: `binary` files
(base64), `lines` (inputs of several lines, then the aggregation), `variant`, `node` (that one
alone), `environment_variables`, `encoding`, `package` (of `packages.json`, installed beside the
flow). Everything runs in this process.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import PhoundryError
from phoundry.flows.executor import Executor, surroundings
from phoundry.flows.load import load_flow
from phoundry.flows.model import Flow
from phoundry.flows.prepare import Connections
from phoundry.flows.runner import Outcome, open_runner
from phoundry.flows.single_node import run_node
from tests.conformance.test_promptflow import rows, same

Row = dict[str, Any]
PACKAGES = json.loads(Path(__file__).with_name("packages.json").read_text())
FILES = sorted(Path(__file__).with_name("observed").glob("*.jsonl"))


def cases() -> list[Any]:
    return [
        pytest.param(row, id=f"{file.stem}-{row['id']}") for file in FILES for row in rows(file)
    ]


@pytest.mark.parametrize("row", cases())
def test_observed(row: Row, tmp_path: Path) -> None:
    write(row, tmp_path)
    expected = row.get("ours") or row
    try:
        outcome = run(row, tmp_path / row["file"])
        error = outcome.error
    except PhoundryError as refused:
        outcome, error = Outcome(None, {}), refused
    if "expected_error" in expected:
        assert error is not None, outcome
        codes = getattr(error, "codes", ["UserError"])  # no flow there: not one of the flow's
        assert expected["expected_error"]["codes"][-1] in codes
        return
    wanted = expected["expected_output"]
    assert error is None, error
    assert same(outcome.output, wanted["output"]), (outcome.output, wanted["output"])
    assert outcome.nodes == wanted["nodes"]
    assert same(outcome.metrics, wanted.get("metrics", {})), outcome.metrics


def write(row: Row, root: Path) -> None:
    for name, content in {**PACKAGES.get(row.get("package", ""), {}), **row["files"]}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode(row.get("encoding", "utf-8")))
    for name, content in row.get("binary", {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(base64.b64decode(content))


def run(row: Row, path: Path) -> Outcome:
    flow = load_flow(path, variant=row.get("variant"))
    if given := row.get("environment_variables"):
        flow = replace(flow, environment_variables={**flow.environment_variables, **given})
    with surroundings(flow):
        if "node" in row:
            return one_node(flow, row)
        if "lines" in row:
            return over_lines(Executor(flow), row["lines"])
        return open_runner(flow).run(row["inputs"])


def one_node(flow: Flow, row: Row) -> Outcome:
    open_runner(flow)  # the rest of the flow has to load as well
    outcome = run_node(flow, Connections(), row["node"], row["inputs"])
    if outcome.output is not None and outcome.output.keys() == {"output"}:
        outcome.output = outcome.output["output"]
    return outcome


def over_lines(executor: Executor, lines: list[dict[str, Any]]) -> Outcome:
    done = [executor.line(inputs, number=number) for number, inputs in enumerate(lines)]
    good = [item for item in done if item.error is None]
    over = executor.aggregate([item.inputs for item in good], [i.aggregation_inputs for i in good])
    outputs: Any = [item.output for item in done]
    nodes = {**done[0].nodes, **over.nodes}
    return Outcome(outputs, nodes, over.metrics, over.error)


def test_every_topic_is_there() -> None:
    found = {file.stem: len(rows(file)) for file in FILES}
    assert set(found) == TOPICS
    assert sum(found.values()) >= LEAST


TOPICS = {
    "aggregation",
    "conditions",
    "files",
    "images",
    "inputs",
    "literals",
    "nodes",
    "outputs",
    "packages",
    "prompts",
    "references",
    "surroundings",
    "tools",
    "variants",
}
LEAST = 900


def test_every_difference_says_why() -> None:
    differing = [row for file in FILES for row in rows(file) if "ours" in row]
    assert differing
    for row in differing:
        assert row["ours"]["why"]
        assert ("expected_error" in row) or ("expected_output" in row)
