"""The schema for editors: what it allows is what the loader allows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from phoundry.flows import init_flow, load_flow
from phoundry.flows.document import read_document
from phoundry.flows.errors import FlowError
from phoundry.flows.schema import path, schema
from tests.flows.conftest import MakeFlow

ROOT = Path(__file__).parents[2]
VALIDATOR = Draft202012Validator(schema())
OBSERVED = ROOT / "tests" / "conformance" / "observed.jsonl"
NODE = "- name: {}\n  type: python\n  source: {{type: code, path: t.py}}\n"


TOOL = "from promptflow.core import tool\n@tool\ndef t(x=1):\n    return x\n"


def faults(file: Path) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(read_document(file).data)]


def test_what_ships_is_what_is_generated() -> None:
    assert json.loads(path().read_text()) == schema()
    Draft202012Validator.check_schema(schema())


def test_flows_that_prompt_flow_ran_are_allowed(tmp_path: Path) -> None:
    seen = 0
    for number, text in enumerate(OBSERVED.read_text(encoding="utf-8").splitlines()):
        case = json.loads(text)
        content = case["files"].get("flow.dag.yaml")
        if content is None or (case["expected_error"] or {}).get("phase") == "load":
            continue
        file = tmp_path / f"{number}.yaml"
        file.write_text(content)
        assert faults(file) == [], case["id"]
        seen += 1
    assert seen > 20


def test_flows_that_ship_are_allowed(tmp_path: Path) -> None:
    files = [init_flow(tmp_path / name, name) for name in ("chat", "python")]
    files += (ROOT / "examples").rglob("flow.dag.yaml")
    assert {str(file): faults(file) for file in files} == {str(file): [] for file in files}


ALLOWED = [
    "retry: 3",
    "retry: {max_attempts: 2, delay: 0.5, backoff: 1, jitter: 1, on: KeyError}",
    "retry: {max_attempts: '${env:PHOUNDRY_TEST_N:-3}'}",
    "timeout: 3",
    "timeout: ${env:PHOUNDRY_TEST_SECONDS:-3}",
    "on_error: {value: {a: [1]}}",
    "on_error: {node: other}",
    "cache: true",
    "cache: {key: [x], ttl: 60}",
    "cache: {key: x}",
    "foreach: ${inputs.x}",
    "foreach: {over: [1, 2], as: row, concurrency: 64, on_error: null}",
    "foreach: {over: '${a.output}', on_error: skip}",
    "activate: {when: '${a.output}', is: 1}",
    "activate: {when: '${a.output}', matches: '^x'}",
    "activate: {any: [{not: {when: 1, in: [1]}}, {all: [{when: 1, is_empty: true}]}]}",
]
REFUSED = [
    "retry: 0",
    "retry: {attempts: 2}",
    "retry: {delay: -1}",
    "retry: {on: 3}",
    "timeout: 0",
    "timeout: soon",
    "on_error: {}",
    "on_error: {value: 1, node: a}",
    "on_error: stop",
    "cache: sometimes",
    "cache: {ttl: long}",
    "foreach: {as: x}",
    "foreach: {over: x, as: 1x}",
    "foreach: {over: x, concurrency: 65}",
    "foreach: {over: x, on_error: ignore}",
    "activate: {any: []}",
    "activate: {when: 1, is: 1, in: [1]}",
    "activate: {when: 1, equals: 1}",
    "activate: {not: [1]}",
]


@pytest.mark.parametrize("line", [*ALLOWED, *REFUSED])
def test_added_keys_are_judged_as_the_loader_does(make_flow: MakeFlow, line: str) -> None:
    nodes = "nodes:\n" + "".join(NODE.format(name) for name in ("a", "other", "n"))
    yaml = f"inputs: {{x: {{type: list}}}}\n{nodes}  {line}\n"
    folder = make_flow({"flow.dag.yaml": yaml, "t.py": TOOL})
    try:
        load_flow(folder)
        refused = False
    except FlowError:
        refused = True
    assert bool(faults(folder / "flow.dag.yaml")) is refused is (line in REFUSED)
