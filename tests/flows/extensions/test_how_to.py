"""The guide to the added keys: its nodes load, editors accept them, its program runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from phoundry.flows import init_flow, load_flow
from phoundry.flows.document import read_document
from phoundry.flows.schema import schema
from tests.flows.conftest import MakeFlow

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "flow-extensions.md"
TOOL = "from promptflow.core import tool\n@tool\ndef t(**inputs):\n    return inputs\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.M | re.S)


def completed(block: str) -> dict[str, str]:
    """A folder in which the nodes of `block` can stand: their inputs declared, their files there,
    and a node for every name that only their references say."""
    nodes: list[dict[str, Any]] = YAML(typ="safe").load(block)
    names = {node["name"] for node in nodes}
    inputs = sorted(set(re.findall(r"\$\{inputs\.(\w+)", block)))
    items = {node["foreach"]["as"] for node in nodes if "foreach" in node}
    others = set(re.findall(r"\$\{(?!env:)(\w+)", block)) - names - items - {"inputs"}
    declared = "".join(f"  {name}: {{type: object, default: 1}}\n" for name in inputs)
    stubs = "".join(
        f"- name: {name}\n  type: python\n  source: {{type: code, path: stub.py}}\n"
        for name in sorted(others)
    )
    body = f"inputs:\n{declared}" if declared else "inputs: {}\n"
    files = {"flow.dag.yaml": f"{body}outputs: {{}}\nnodes:\n{block}{stubs}", "stub.py": TOOL}
    inner = "inputs: {}\noutputs: {}\nnodes: []\n"
    for node in nodes:
        path = node["source"]["path"]
        if path != "flow.dag.yaml":
            files[path] = TOOL if path.endswith(".py") else inner
    return files


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.split()[2])
def test_its_nodes_are_accepted(make_flow: MakeFlow, block: str) -> None:
    folder = make_flow(completed(block))
    load_flow(folder)
    document = read_document(folder / "flow.dag.yaml")
    assert not list(Draft202012Validator(schema()).iter_errors(document.data))


def test_its_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init_flow(tmp_path / "counting", "python")
    monkeypatch.chdir(tmp_path)
    [program] = blocks("python")
    exec(program, {})
