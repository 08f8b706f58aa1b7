"""Whatever stands in a flow's files, the validator answers: no crash, no hang, nothing run."""

from __future__ import annotations

import json
import random
import string
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from phoundry.errors import PhoundryError
from phoundry.flows import load_flow
from phoundry.flows.check import Report, check_flow

QUICK = settings(
    max_examples=25,
    print_blob=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
FLOW = """\
$schema: x
inputs:
  question: {type: string, default: 'Hi', is_chat_input: true}
  count:
    type: int
    default: 3
outputs:
  answer: {type: string, reference: '${ask.output}'}
environment_variables: {A: 1, B: '${env:HOME}'}
additional_includes: []
node_variants:
  ask:
    default_variant_id: one
    variants:
      one:
        node:
          type: prompt
          source: {type: code, path: p.jinja2}
          inputs: {q: '${tool.output.x[0]}'}
nodes:
- name: tool
  type: python
  source: &code {type: code, path: t.py}
  inputs: {question: '${inputs.question}', count: 2}
  activate: {when: '${inputs.count}', is: 3}
- name: ask
  use_variants: true
- name: sum
  type: python
  source: *code
  aggregation: true
  inputs: {question: '${ask.output}'}
"""
TOOL = """\
import pathlib
from promptflow.core import tool

pathlib.Path(__file__).with_name("ran").write_text("imported")


@tool
def work(question: str, count: int = 1) -> dict:
    return {"x": [question] * count}
"""
PROMPT = "user:\n{% for i in range(2) %}{{ q }}{% endfor %}\n"
WORDS = [
    "${inputs.question}",
    "${tool.output}",
    "${",
    "}",
    "${a.b.c[0]['k']}",
    "nodes",
    "",
    "\x00",
    "name",
    "type",
    "${env:X}",
    "9" * 400,
    "~",
    "null",
    "&a",
    "*a",
    "!!python/object:os.system",
    "{{",
    "%}",
    "inputs",
    "🦊",
    "../../etc/passwd",
    "/dev/zero",
    "nodes.0",
]


def write(folder: Path, flow: str | bytes, tool: str = TOOL, prompt: str = PROMPT) -> Path:
    file = folder / "flow.dag.yaml"
    file.write_bytes(flow if isinstance(flow, bytes) else flow.encode("utf-8", "surrogatepass"))
    (folder / "t.py").write_text(tool, encoding="utf-8", errors="replace")
    (folder / "p.jinja2").write_text(prompt, encoding="utf-8", errors="replace")
    return file


def checked(file: Path) -> Report:
    """The report; it agrees with the loader, and nothing of the flow has run."""
    report = check_flow(file)
    for finding in report.findings:
        assert finding.message
        assert finding.file
        assert finding.line >= 0
    assert not file.with_name("ran").exists()
    try:
        load_flow(file)
    except PhoundryError:
        assert report.errors, "the loader refuses what the validator calls valid"
    return report


def test_the_flow_that_is_mutated_is_sound(tmp_path: Path) -> None:
    report = check_flow(write(tmp_path, FLOW))
    assert not report.errors, report.errors


@QUICK
@given(seed=st.integers(0, 2**32))
def test_bytes_that_are_changed(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    content = bytearray(FLOW.encode())
    for _ in range(dice.randint(1, 6)):
        place = dice.randrange(len(content))
        change = dice.choice(["flip", "drop", "double", "word"])
        if change == "flip":
            content[place] = dice.randrange(256)
        elif change == "drop":
            del content[place : place + dice.randint(1, 20)]
        elif change == "double":
            content[place:place] = content[place : place + dice.randint(1, 60)]
        else:
            content[place:place] = dice.choice(WORDS).encode()
    checked(write(tmp_path, bytes(content)))


def _values() -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS)
    plain |= st.text(string.printable, max_size=8)
    return st.recursive(
        plain,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=6,
    )


@QUICK
@given(data=st.data())
def test_values_of_other_kinds(tmp_path: Path, data: st.DataObject) -> None:
    """Any value of the file is exchanged for any other, its key dropped or renamed."""
    document = YAML(typ="safe", pure=True).load(FLOW)
    for _ in range(data.draw(st.integers(1, 3))):
        places = list(_places(document))
        holder, key = data.draw(st.sampled_from(places))
        change = data.draw(st.sampled_from(["value", "drop", "rename"]))
        if change == "value":
            holder[key] = data.draw(_values())
        elif change == "drop":
            del holder[key]
        elif isinstance(holder, dict):
            holder[data.draw(st.sampled_from(WORDS) | st.integers())] = holder.pop(key)
    checked(write(tmp_path, json.dumps(document, default=str)))


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            yield value, key
            yield from _places(item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield value, index
            yield from _places(item)


@QUICK
@given(
    pieces=st.lists(
        st.sampled_from(
            [
                "{{",
                "}}",
                "{%",
                "%}",
                "for",
                "in",
                "if",
                "endif",
                "endfor",
                " ",
                "q",
                "q.__class__",
                "|map",
                "|attr('x')",
                "(",
                ")",
                "[",
                "]",
                "'",
                "include 'x'",
                "set a=1",
                "\n",
                "raw",
                "endraw",
                "import 'y' as z",
                "9" * 50,
                "~",
                "*",
                "**",
                "-",
                "#}",
                "{#",
                "macro m()",
                "endmacro",
                "block b",
                "endblock",
            ]
        ),
        max_size=14,
    )
)
def test_templates(tmp_path: Path, pieces: list[str]) -> None:
    checked(write(tmp_path, FLOW, prompt="".join(pieces)))


@QUICK
@given(
    pieces=st.lists(
        st.sampled_from(
            [
                "def f(",
                "x",
                ")",
                ":",
                "\n",
                "    ",
                "return",
                "@tool\n",
                "class A",
                "(",
                "=",
                "1",
                "import os",
                "from promptflow.core import tool",
                "from promptflow.tools import z",
                "import nothing_at_all",
                "lambda",
                "'",
                '"""',
                "\\",
                "\x00",
                "async ",
                "*",
                "**",
                "a: 'int'",
                "try:",
                "[" * 30,
                "é",
            ]
        ),
        max_size=16,
    )
)
def test_tools(tmp_path: Path, pieces: list[str]) -> None:
    checked(write(tmp_path, FLOW, tool="".join(pieces)))


def _bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines)


def _merges() -> str:
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9)]
    return "\n".join(lines)


def _chain() -> str:
    """Nodes that wait for each other, the last one for nobody there."""
    node = "- name: n{}\n  type: python\n  source: {{type: code, path: t.py}}\n"
    node += "  inputs: {{question: '${{n{}.output}}'}}\n"
    return "nodes:\n" + "".join(node.format(n, n + 1) for n in range(200))


HARD: dict[str, Callable[[], str]] = {
    "aliases of aliases": _bomb,
    "merges of merges": _merges,
    "itself": lambda: "nodes: &a [*a]",
    "itself as an input": lambda: "inputs: &a {x: *a}",
    "deep lists": lambda: "nodes: " + "[" * 5_000 + "]" * 5_000,
    "deep mappings": lambda: "".join(f"{' ' * n}a:\n" for n in range(2_000)),
    "ten megabytes": lambda: "nodes:\n" + "- name: x\n" * 1_000_000,
    "a huge number": lambda: "inputs: {x: {type: int, default: " + "9" * 100_000 + "}}",
    "a huge float": lambda: "inputs: {x: {type: double, default: 1e999999999}}",
    "a huge base": lambda: "inputs: {x: {type: int, default: 0x" + "f" * 100_000 + "}}",
    "sexagesimal": lambda: (
        "%YAML 1.1\n---\ninputs: {x: {type: int, default: 1" + ":59" * 20_000 + "}}"
    ),
    "a deep reference": lambda: (
        "outputs: {o: {type: string, reference: '${n.output" + "[0]" * 50_000 + "}'}}"
    ),
    "many keys": lambda: "".join(f"k{n}: {n}\n" for n in range(1_000)),
    "a tag": lambda: "nodes: !!python/object/apply:os.system ['touch ran']",
    "nothing": lambda: "",
    "two documents": lambda: "nodes: []\n---\nnodes: []\n",
    "a long chain": _chain,
}


# What ends quickly and means something.
HARMLESS = (
    "nothing",
    "many keys",
    "a huge float",
    "merges of merges",
    "a huge base",
    "sexagesimal",
)


@pytest.mark.parametrize("name", list(HARD))
def test_what_is_meant_to_use_up_the_machine(tmp_path: Path, name: str) -> None:
    """Each ends with errors, in processor time that a check may take, at an unharmed stack."""
    before = sys.getrecursionlimit()
    started = time.process_time()
    report = checked(write(tmp_path, HARD[name]()))
    assert time.process_time() - started < 20
    assert sys.getrecursionlimit() == before
    if name not in HARMLESS:
        assert report.errors
