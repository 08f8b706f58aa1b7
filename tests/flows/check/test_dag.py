"""Every fault of a DAG flow at once, each at its line and column."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from phoundry.flows.check import Known, Report, check_flow
from phoundry.specs.connection import Connection

BROKEN = """\
inputs:
  question:
    type: strnig
  count: {type: int, default: many}
  unused: {type: string}
outputs:
  answer: {type: string, reference: '${shout.output}'}
  other: {type: string, reference: '${nobody.output}'}
nodes:
- name: shout
  type: python
  source: {type: code, path: shout.py}
  inputs:
    text: ${inputs.qestion}
    times: three
    colour: red
- name: shout
  type: python
  source: {type: code, path: gone.py}
- name: say
  type: prompt
  source: {type: code, path: say.jinja2}
  inputs:
    a: ${shot.output}
    b: "hi ${inputs.question}"
  actvate: {when: 1, is: 2}
"""
SHOUT = """\
from promptflow.core import tool
from promptflow.azure import PFClient
import surely_not_installed


@tool
def shout(text: str, times: int, tone: str):
    return text
"""


def flow(folder: Path, text: str, files: Mapping[str, str] | None = None) -> Path:
    for name, content in {"flow.dag.yaml": text, **(files or {})}.items():
        (folder / name).write_text(content)
    return folder


def places(report: Report) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in report.findings:
        found.setdefault(item.code, []).append(f"{item.severity} {item.place}")
    return found


def test_every_fault_at_once(tmp_path: Path) -> None:
    say = "{{ a }}\n{{ c }}{% for %}\n"
    report = check_flow(flow(tmp_path, BROKEN, {"shout.py": SHOUT, "say.jinja2": say}))
    found = places(report)
    assert found == {
        "ValueError": ["error flow.dag.yaml:3:5"],
        "InputTypeError": ["error flow.dag.yaml:4:22"],
        "UnusedInput": [
            "warning flow.dag.yaml:2:3",
            "warning flow.dag.yaml:4:3",
            "warning flow.dag.yaml:5:3",
        ],
        "OutputReferenceNotFound": ["error flow.dag.yaml:8:25"],
        "MissingRequiredInputs": ["error flow.dag.yaml:13:3"],
        "InputReferenceNotFound": ["error flow.dag.yaml:14:5"],
        "NodeInputValidationError": ["error flow.dag.yaml:15:5"],
        "UnknownParameter": ["error flow.dag.yaml:16:5"],
        "DuplicateNodeName": ["error flow.dag.yaml:17:3"],
        "InvalidSource": ["error flow.dag.yaml:19:24"],
        "UnusedNode": ["warning flow.dag.yaml:20:3"],
        "NodeReferenceNotFound": ["error flow.dag.yaml:24:5"],
        "EmbeddedReference": ["warning flow.dag.yaml:25:5"],
        "UnknownKey": ["warning flow.dag.yaml:26:3"],
        "TemplateSyntaxError": ["error say.jinja2:2:1"],
        "PythonLoadError": ["error shout.py:2:1", "error shout.py:3:1"],
    }
    assert report.verdict == "cannot run"
    remedies = " ".join(str(item.remedy) for item in report.findings)
    for near in ("string", "question", "activate", "shout"):
        assert f"ean {near}" in remedies or f"`{near}`" in remedies


def one_tool(folder: Path, tool: str, inputs: str = "", more: str = "") -> Report:
    text = (
        "inputs:\n  q: {type: string}\noutputs:\n  o: {type: string, reference: '${n.output}'}\n"
        "nodes:\n- name: n\n  type: python\n  source: {type: code, path: t.py}\n"
        f"  inputs: {{{inputs}}}\n{more}"
    )
    return check_flow(flow(folder, text, {"t.py": tool}))


@pytest.mark.parametrize(
    ("tool", "inputs", "code", "place"),
    [
        (
            "from promptflow.core import tool\n@tool\ndef f(q):\n  return (\n",
            "q: 1",
            "PythonLoadError",
            "t.py:4:10",
        ),
        ("def f(q):\n    return q\n", "q: 1", "NoToolDefined", "t.py:1:1"),
        (
            "from promptflow.core import tool\n@tool\ndef f(): ...\n@tool\ndef g(): ...\n",
            "",
            "MultipleToolsDefined",
            "t.py:5:1",
        ),
        (
            "from promptflow.core import tool\n@tool\ndef f(a, b=1, *, c): ...\n",
            "a: 1",
            "MissingRequiredInputs",
            "flow.dag.yaml:9:3",
        ),
        (
            "from promptflow.core import tool\n@tool\ndef f(a): ...\n",
            "a: '${n.output}'",
            "NodeCircularDependency",
            "flow.dag.yaml:9:12",
        ),
        (
            "from promptflow.core import tool\n@tool\ndef f(a): ...\n",
            "a: '${n.ouput}'",
            "UnsupportedReference",
            "flow.dag.yaml:9:12",
        ),
        (
            "from promptflow.core import tool, nothing\n@tool\ndef f(): ...\n",
            "",
            "PythonLoadError",
            "t.py:1:1",
        ),
    ],
)
def test_a_tool_is_parsed(tmp_path: Path, tool: str, inputs: str, code: str, place: str) -> None:
    report = one_tool(tmp_path, tool, inputs)
    assert (code, place) in {(item.code, item.place) for item in report.errors}


def test_imports_that_may_fail_are_warnings(tmp_path: Path) -> None:
    tool = (
        "from promptflow.core import tool\ntry:\n    import not_there_at_all\nexcept ImportError:\n"
        "    pass\nimport json, helper\n@tool\ndef f(q):\n    import not_there_either\n"
        "    return q\n"
    )
    (tmp_path / "helper.py").write_text("import missing_in_helper\n")
    (tmp_path / "requirements.txt").write_text("# us\nlisted-package>=1 # x\npromptflow\n")
    report = one_tool(tmp_path, tool, "q: '${inputs.q}'")
    found = {(item.place, item.severity) for item in report.findings if item.setup}
    assert found == {
        ("t.py:3:5", "warning"),
        ("t.py:9:5", "warning"),
        ("helper.py:1:1", "error"),
        ("requirements.txt:2:1", "warning"),
    }
    assert report.verdict == "needs attention"


def test_all_variants_are_checked(tmp_path: Path) -> None:
    text = (
        "outputs:\n  o: {type: string, reference: '${n.output}'}\n"
        "node_variants:\n  n:\n    default_variant_id: good\n    variants:\n"
        "      good:\n        node: {type: prompt, source: {type: code, path: good.jinja2}}\n"
        "      bad:\n        node: {type: prompt, source: {type: code, path: bad.jinja2}}\n"
        "nodes:\n- {name: n, use_variants: true}\n"
    )
    report = check_flow(flow(tmp_path, text, {"good.jinja2": "hello"}))
    assert not report.errors  # a run takes the good one
    assert [(item.code, item.line) for item in report.warnings] == [("InvalidSource", 10)]


def test_nodes_that_come_to_nothing(tmp_path: Path) -> None:
    text = (
        "outputs:\n  o: {type: string, reference: '${b.output}'}\nnodes:\n"
        "- {name: a, type: prompt, source: {type: code, path: p}, activate: {when: 1, is: 2}}\n"
        "- {name: b, type: prompt, source: {type: code, path: p}, inputs: {x: '${a.output}'}}\n"
        "- {name: c, type: prompt, source: {type: code, path: p}}\n"
        "- {name: d, type: prompt, source: {type: code, path: p}, aggregation: true}\n"
    )
    report = check_flow(flow(tmp_path, text, {"p": "{{ x }}"}))
    never = [item.node for item in report.warnings if item.code == "UnreachableNode"]
    unused = [item.node for item in report.warnings if item.code == "UnusedNode"]
    assert (never, unused, report.errors) == (["a", "b"], ["c"], [])


ASKING = """\
inputs: {q: {type: string}}
outputs: {o: {type: string, reference: '${ask.output}'}}
environment_variables: {KEY: '${vault.key}', HERE: '${env:SURELY_NOT_SET}'}
nodes:
- name: ask
  type: llm
  source: {type: code, path: ask.jinja2}
  inputs: {q: '${inputs.q}', temperature: hot, model: m}
  connection: azure
  api: chat
"""


def connection(name: str, **more: str) -> Connection:
    now = datetime.now(UTC)
    return Connection(name=name, type="custom", configs=more, created_at=now, updated_at=now)


def test_what_this_machine_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SURELY_NOT_SET", raising=False)
    folder = flow(tmp_path, ASKING.replace("hot", "0.5"), {"ask.jinja2": "user:\n{{ q }}\n"})
    report = check_flow(folder, Known(lambda: [connection("azur", api_base="x", key="y")]))
    found = {(item.code, item.line, item.column) for item in report.errors}
    assert found == {
        ("GetConnectionError", 9, 3),
        ("GetConnectionError", 3, 25),
        ("EnvironmentVariableMissing", 3, 46),
    }
    assert report.verdict == "needs attention"
    assert "azur?" in " ".join(str(item.remedy) for item in report.errors)
    assert not check_flow(folder, Known()).errors[1:]  # nobody looked for connections
    monkeypatch.setenv("SURELY_NOT_SET", "set")
    both = [connection("azure", api_base="x", key="y"), connection("vault", key="z")]
    assert not check_flow(folder, Known(lambda: both)).findings


def test_prompts_of_models(tmp_path: Path) -> None:
    text = "Answer this.\n{{ q }}{{ unknown }}\n"
    report = check_flow(flow(tmp_path, ASKING, {"ask.jinja2": text}))
    found = places(report)
    assert found["ChatAPIInvalidRole"] == ["error ask.jinja2:1:1"]
    assert found["FlowDefinitionError"] == ["error flow.dag.yaml:8:30"]
    assert found["UnfilledVariable"] == ["warning ask.jinja2:2:11"]
    (tmp_path / "ask.jinja2").write_text("system:\n{% include 'x' %}\nuser:\n{{ q }}")
    outside = places(check_flow(tmp_path))
    assert outside["JinjaTemplateError"] == ["error ask.jinja2:2:1"]


def test_a_file_that_is_no_yaml_has_its_place(tmp_path: Path) -> None:
    report = check_flow(flow(tmp_path, "inputs:\n  a: [1\nnodes: []\n"))
    assert [(item.code, item.line > 0, item.column > 0) for item in report.errors] == [
        (report.errors[0].code, True, True)
    ]
    twice = check_flow(flow(tmp_path, "nodes: []\nnodes: []\n"))
    assert twice.errors[0].line == 2


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("token = 1\n")
    inner = tmp_path / "flow"
    inner.mkdir()
    (inner / "t.py").symlink_to(tmp_path / "secret.py")
    text = "nodes:\n- {name: n, type: python, source: {type: code, path: t.py}}\n"
    assert [item.code for item in check_flow(flow(inner, text)).errors] == ["InvalidSource"]


@pytest.mark.parametrize(
    "text",
    [
        "{{ 9 ** (9 ** 9) }}",
        "{% if 9 ** (9 ** 9) %}x{% endif %}",
        "{{ '%99999999999d' | format(1) }}",
        "{% autoescape '%99999999999d' | format(1) %}{% endautoescape %}",
    ],
)
def test_what_a_template_works_out_is_not_worked_out_here(tmp_path: Path, text: str) -> None:
    """Jinja does so while it compiles: the check hung, or filled the memory."""
    (tmp_path / "p.jinja2").write_text(text)
    (tmp_path / "flow.dag.yaml").write_text(
        "nodes:\n- {name: p, type: prompt, source: {type: code, path: p.jinja2}}\n"
    )
    assert [item for item in check_flow(tmp_path).findings if item.severity == "error"] == []


def test_tools_of_prompt_flow_that_are_not_provided_are_named(tmp_path: Path) -> None:
    (tmp_path / "flow.dag.yaml").write_text(
        "outputs:\n  o:\n    type: string\n    reference: ${all.output}\nnodes:\n"
        "- name: open\n  type: custom_llm\n  source:\n    type: package_with_prompt\n"
        "    tool: promptflow.tools.open_model_llm.OpenModelLLM.call\n    path: p.jinja2\n"
        "- name: near\n  type: python\n  source:\n    type: package\n"
        "    tool: promptflow.tools.embedding.embeding\n"
        "- name: there\n  type: python\n  source:\n    type: package\n"
        "    tool: promptflow.tools.serpapi.SerpAPI.search\n"
        "- name: elsewhere\n  type: python\n  source:\n    type: package\n    tool: other.tool\n"
        "- name: all\n  type: python\n  source:\n    type: code\n    path: a.py\n  inputs:\n"
        "    a: ${open.output}\n    b: ${near.output}\n    c: ${there.output}\n"
        "    d: ${elsewhere.output}\n    assistant: assistant.yaml\n"
    )
    (tmp_path / "p.jinja2").write_text("user:\nHi")
    (tmp_path / "a.py").write_text(
        "from promptflow.core import tool\nfrom promptflow.contracts.types import "
        "AssistantDefinition\n@tool\ndef a(a, b, c, d, assistant: AssistantDefinition): ...\n"
    )
    found = {item.line: item for item in check_flow(tmp_path).findings}
    assert {line: (item.code, item.severity) for line, item in found.items()} == {
        10: ("PackageToolNotFoundError", "error"),
        16: ("PackageToolNotFoundError", "error"),
        37: ("AssistantNotProvided", "warning"),
    }
    assert "'promptflow.tools.open_model_llm.OpenModelLLM.call'" in found[10].message
    assert "type: llm" in str(found[10].remedy)
    assert "Did you mean promptflow.tools.embedding.embedding?" in str(found[16].remedy)
    assert "Assistants are not provided" in str(found[37].remedy)
