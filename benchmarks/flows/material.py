"""The flows that both sides run, made in a folder of each side's own, and lines for a batch."""

from __future__ import annotations

import json
from pathlib import Path

TOOL = """\
from promptflow.core import tool


@tool
def pass_on(text: str, **others: str) -> str:
    return text
"""
HEAD = """\
inputs:
  question: {{type: string}}
outputs:
  answer: {{type: string, reference: '${{{last}.output}}'}}
nodes:
"""
NODE = """\
- name: {name}
  type: python
  source: {{type: code, path: pass_on.py}}
  inputs: {{{inputs}}}
"""
NODES = 50
QUESTION = "Who founded Microsoft?"


def make_flows(folder: Path) -> None:
    """`one`, `chain` (50 nodes, each after the other) and `wide` (50 side by side, and one after
    all of them), in which every node hands a string on."""
    first = "text: '${inputs.question}'"
    _flow(folder / "one", [("n0", first)])
    chain = [(f"n{i}", f"text: '${{n{i - 1}.output}}'" if i else first) for i in range(NODES)]
    _flow(folder / "chain", chain)
    wide = [(f"n{i}", first) for i in range(NODES)]
    everything = [f"t{i}: '${{n{i}.output}}'" for i in range(1, NODES)]
    wide.append(("last", ", ".join(["text: '${n0.output}'", *everything])))
    _flow(folder / "wide", wide)


def make_lines(file: Path, count: int) -> Path:
    with file.open("w") as out:
        for number in range(count):
            out.write(json.dumps({"question": f"{QUESTION} {number}"}) + "\n")
    return file


def _flow(folder: Path, nodes: list[tuple[str, str]]) -> None:
    folder.mkdir(parents=True)
    body = "".join(NODE.format(name=name, inputs=inputs) for name, inputs in nodes)
    (folder / "flow.dag.yaml").write_text(HEAD.format(last=nodes[-1][0]) + body)
    (folder / "pass_on.py").write_text(TOOL)
