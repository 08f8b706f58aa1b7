"""One home, one flow, one run over three lines of which the last fails: made once, looked at often.

What is expected of `PFClient` was observed with promptflow 1.18.5 on the same folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import NotFound
from phoundry.promptflow import provided
from phoundry.settings import Home

YAML = """
inputs:
  n: {type: int, default: 1}
outputs:
  half: {type: double, reference: "${halve.output}"}
nodes:
- name: halve
  type: python
  source: {type: code, path: halve.py}
  inputs: {n: "${inputs.n}"}
- name: mean
  type: python
  source: {type: code, path: mean.py}
  inputs: {values: "${halve.output}"}
  aggregation: true
"""
HALVE = """
from promptflow.core import tool

@tool
def halve(n: int):
    print("seen", n)
    if n == 3:
        raise ValueError("three")
    return n / 2
"""
MEAN = """
from promptflow.core import log_metric, tool

@tool
def mean(values: list):
    log_metric("mean", sum(values) / len(values))
"""


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `flow/`, `data.jsonl` and, at the end, `home/`."""
    root = tmp_path_factory.mktemp("scripts")
    flow = root / "flow"
    flow.mkdir()
    (flow / "flow.dag.yaml").write_text(YAML)
    (flow / "halve.py").write_text(HALVE)
    (flow / "mean.py").write_text(MEAN)
    (root / "data.jsonl").write_text('{"n": 1}\n{"n": 2}\n{"n": 3}\n')
    return root


@pytest.fixture
def client(place: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`PFClient()` as a script gets it, over the shared home."""
    monkeypatch.setenv("PHOUNDRY_HOME", str(place / "home"))
    with provided():
        yield importlib.import_module("promptflow.client").PFClient()


@pytest.fixture
def run(client: Any, place: Path) -> Any:
    """The run `first`, made by whichever test asks first."""
    try:
        return client.runs.get("first")
    except NotFound:
        return client.run(
            flow=place / "flow",
            data=place / "data.jsonl",
            column_mapping={"n": "${data.n}"},
            name="first",
            display_name="First",
            tags={"a": "b"},
            environment_variables={"UNSEEN": "canary-61"},
        )
