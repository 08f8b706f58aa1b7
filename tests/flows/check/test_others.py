"""Flex flows, prompties, and trees of flows of every kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from phoundry.errors import NotFound
from phoundry.flows.check import check_flow, check_tree, find_flows

MODULE = """\
class Chat:
    def __init__(self, model: str, tone: str = "dry"):
        self.model = model

    def __call__(self, question: str, *, history: list = None) -> str:
        return question


def ask(question: str, more: int = 1):
    return question
"""


@pytest.mark.parametrize(
    ("yaml", "faults"),
    [
        ("entry: app:ask\n", []),
        ("entry: app:Chat\ninit: {model: {type: string}}\n", []),
        ("entry: app:asc\n", [("InvalidFlexFlowEntry", 1)]),
        ("entry: ap:ask\n", [("PythonLoadError", 1)]),
        ("entry: ask\n", [("InvalidFlexFlowEntry", 1)]),
        (
            "display_name: x\nentry: app:ask\ninputs:\n  query: {type: string}\n",
            [("UndeclaredInput", 3), ("UnknownParameter", 4)],
        ),
        (
            "entry: app:Chat\ninit:\n  mdel: {type: string}\n",
            [("UndeclaredInput", 2), ("UnknownParameter", 3)],
        ),
        ("entry: app:ask\nentries: 1\n", [("UnknownKey", 2)]),
    ],
)
def test_flex(tmp_path: Path, yaml: str, faults: list[tuple[str, int]]) -> None:
    (tmp_path / "app.py").write_text(MODULE)
    (tmp_path / "flow.flex.yaml").write_text(yaml)
    report = check_flow(tmp_path)
    assert report.kind == "flex"
    assert [(item.code, item.line) for item in report.findings] == faults


PROMPTY = """\
---
name: basic
model:
  api: chat
  configuration: {type: azure_openai, connection: mine}
inputs:
  question: {type: string}
---
system:
Be kind.
user:
{{ question }}
"""


def prompty(folder: Path, text: str) -> list[tuple[str, int]]:
    (folder / "ask.prompty").write_text(text)
    report = check_flow(folder / "ask.prompty")
    assert report.kind == "prompty"
    return [(item.code, item.line) for item in report.findings]


def test_prompties(tmp_path: Path) -> None:
    assert prompty(tmp_path, PROMPTY) == []
    assert prompty(tmp_path, PROMPTY.replace("{{ question }}", "{{ qestion }}")) == [
        ("UnusedInput", 7),
        ("UnfilledVariable", 12),
    ]
    assert prompty(tmp_path, PROMPTY.replace("{{ question }}", "{{ question")) == [
        ("TemplateSyntaxError", 12)
    ]
    assert prompty(tmp_path, PROMPTY.replace("system:\nBe kind.\nuser:\n", "Hello\n")) == [
        ("ChatAPIInvalidRole", 9)
    ]
    assert prompty(tmp_path, PROMPTY.replace("api: chat", "api: talk")) == [
        ("FlowDefinitionError", 4)
    ]
    assert prompty(tmp_path, "no front matter") == [("UserErrorException", 0)]


def test_a_tree(tmp_path: Path) -> None:
    good, bad, hidden = tmp_path / "good", tmp_path / "sub" / "bad", tmp_path / ".git"
    for folder in (good, bad, hidden):
        folder.mkdir(parents=True)
    nodes = "outputs: {o: {type: string, reference: '${n.output}'}}\nnodes:\n"
    node = "- {name: n, type: prompt, source: {type: code, path: p.jinja2}}\n"
    (good / "flow.dag.yaml").write_text(nodes + node)
    (good / "p.jinja2").write_text("hello")
    (bad / "flow.dag.yml").write_text(nodes + node)
    (hidden / "flow.dag.yaml").write_text(nodes)
    (bad / "x.prompty").write_text(PROMPTY)
    reports = list(check_tree([tmp_path]))
    assert [(item.path.name, item.verdict) for item in reports] == [
        ("flow.dag.yaml", "runs"),
        ("flow.dag.yml", "cannot run"),
        ("x.prompty", "runs"),
    ]
    assert find_flows([good, tmp_path]) == [good / "flow.dag.yaml", *find_flows([tmp_path])[1:]]
    with pytest.raises(NotFound):
        find_flows([tmp_path / "nothing"])


def test_what_is_no_file_stops_no_tree(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "flow.dag.yaml").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "b.prompty")
    (tmp_path / "c.prompty").write_text(PROMPTY)
    verdicts = [(item.path.name, item.verdict) for item in check_tree([tmp_path])]
    assert sorted(verdicts) == [
        ("b.prompty", "cannot run"),
        ("c.prompty", "runs"),
        ("flow.dag.yaml", "cannot run"),
    ]


@pytest.mark.parametrize(
    ("configuration", "lines"),
    [
        ("azure_endpoint: https://x", [7]),
        ("azure_endpoint: https://x\n    api_key: ${env:HOME}", []),
        ("connection: mine", []),
    ],
)
def test_a_prompty_that_would_sign_in_to_azure(
    tmp_path: Path, configuration: str, lines: list[int]
) -> None:
    front = "---\nname: x\nmodel:\n  api: chat\n  configuration:\n    type: azure_openai\n"
    text = f"{front}    {configuration}\n    azure_deployment: d\n---\nuser:\nHi\n"
    (tmp_path / "a.prompty").write_text(text)
    found = check_flow(tmp_path / "a.prompty").findings
    assert [item.line for item in found] == lines
    for item in found:
        assert "Signing in to Azure (Entra ID, AAD) is not supported" in item.message
        assert "api_key: ${env:" in str(item.remedy)
