"""Flows of a few lines, run in this process."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from phoundry.flows import load_flow
from phoundry.flows.executor import Executor, surroundings
from phoundry.flows.runner import Outcome
from tests.flows.conftest import MakeFlow

IMPORTS = "from promptflow.core import tool, log_metric\n"
Run = Callable[..., Outcome]


def node(name: str, more: str = "", path: str = "t.py", **inputs: Any) -> str:
    values = ", ".join(f"{key}: {value!r}" for key, value in inputs.items())
    return (
        f"- name: {name}\n  type: python\n  source: {{type: code, path: {path}}}\n"
        f"  inputs: {{{values}}}\n{more}"
    )


@pytest.fixture
def open_flow(make_flow: MakeFlow) -> Generator[Callable[..., Executor]]:
    """`open_flow(nodes, tool, inputs=…, outputs=…, files=…)`: an executor inside its folder."""
    entered: list[Any] = []

    def make(
        nodes: str,
        tool: str = "def t(x=None):\n    return x\n",
        inputs: str = "{q: {type: object, default: 1}}",
        outputs: str = "{}",
        files: dict[str, str] | None = None,
        concurrency: int = 16,
    ) -> Executor:
        yaml = f"inputs: {inputs}\noutputs: {outputs}\nnodes:\n{nodes}"
        tools = {"flow.dag.yaml": yaml, "t.py": f"{IMPORTS}@tool\n{tool}"}
        flow = load_flow(make_flow(tools | (files or {})))
        around = surroundings(flow)
        around.__enter__()
        entered.append(around)
        return Executor(flow, concurrency=concurrency)

    yield make
    for around in reversed(entered):
        around.__exit__(None, None, None)


@pytest.fixture
def run(open_flow: Callable[..., Executor]) -> Run:
    """`run(nodes, tool, …)`: the outcome, for `n`'s output as output `o`."""

    def outcome(nodes: str, *arguments: Any, given: Any = None, **options: Any) -> Outcome:
        options.setdefault("outputs", "{o: {type: object, reference: '${n.output}'}}")
        return open_flow(nodes, *arguments, **options).run(given or {})

    return outcome


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A file to which tools write a line a call."""
    return tmp_path / "calls"
