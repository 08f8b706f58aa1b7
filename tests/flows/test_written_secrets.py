"""Keys that stand in a flow's files are hidden like those of connections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.flows.load import load_flow
from phoundry.flows.session.alone import stands_alone
from phoundry.flows.session.host import FlowSession
from phoundry.flows.session.written import written_secrets
from phoundry.serving.flow.opening import Opening
from tests.flows.conftest import MakeFlow

OpenSession = Callable[..., FlowSession]

KEY = "canary-4f1c09"
PROMPTY = """---
model:
  api: chat
  configuration: {type: openai, model: m, api_key: KEY, base_url: "http://127.0.0.1:9/v1"}
  parameters: {max_tokens: 100, extra_headers: {Authorization: Bearer KEY-2}}
inputs:
  api_key: {type: string, default: KEY-3}
  sort_key: line_number
---
user:
{{question}}
""".replace("KEY", KEY)
YAML = """
environment_variables: {SERVICE_PASSWORD: KEY-4, STAGE: production}
inputs: {q: {type: string}}
outputs: {o: {type: string, reference: "${ask.output}"}}
nodes:
- name: ask
  type: python
  source: {type: code, path: ask.py}
  inputs:
    q: "${inputs.q}"
    api_key: KEY
    token: "ghp-0123456789abcdef"
    max_tokens: "1000000000000000"
""".replace("KEY", KEY)
TOOL = """
from promptflow.core import tool

@tool
def ask(q: str, api_key: str, token: str, max_tokens: str):
    print("calling with", api_key)
    raise ValueError(f"the server says: wrong key {api_key} and {token}, {max_tokens}")
"""


def test_what_a_prompty_holds(tmp_path: Path) -> None:
    file = tmp_path / "chat.prompty"
    file.write_text(PROMPTY)
    assert written_secrets(file) == {KEY, f"{KEY}-2", f"{KEY}-3"}


def test_variables_count_as_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "chat.prompty"
    file.write_text(PROMPTY.replace(f"api_key: {KEY}", "api_key: '${env:PHX_TEST_KEY}'"))
    monkeypatch.setenv("PHX_TEST_KEY", "canary-from-outside")
    assert "canary-from-outside" in written_secrets(file)
    monkeypatch.delenv("PHX_TEST_KEY")
    assert not [text for text in written_secrets(file) if "${" in text]


def test_what_is_given_beside_the_file(tmp_path: Path) -> None:
    init = {"model_config": {"api_key": KEY, "model": "gpt"}}
    found = written_secrets(tmp_path / "none", {"OPENAI_API_KEY": f"{KEY}-e"}, init, None)
    assert found == {KEY, f"{KEY}-e"}


def test_a_session_hides_them_everywhere(make_flow: MakeFlow, open_session: OpenSession) -> None:
    folder = make_flow({"flow.dag.yaml": YAML, "ask.py": TOOL})
    (folder / "sub").mkdir()
    (folder / "sub" / "inner.prompty").write_text(
        PROMPTY.replace(f"api_key: {KEY}", "api_key: inner-key")
    )
    (folder / "broken.prompty").write_text("---\napi_key: [\n---\n")
    found = written_secrets(load_flow(folder).file)
    assert found == {
        KEY, f"{KEY}-2", f"{KEY}-3", f"{KEY}-4", "inner-key", "ghp-0123456789abcdef",
    }  # fmt: skip
    kept: list[object] = []
    session = open_session(folder, keep=kept.append)
    result = session.run({"q": "x"})
    assert result.error is not None
    assert "wrong key *** and ***, 1000000000000000" in result.error["message"]
    assert "calling with ***" in session.log()
    assert kept
    assert KEY not in f"{result}{session.log()}{kept}"
    assert not stands_alone(load_flow(folder))  # that way shows a result as it comes


def test_a_served_flow_hides_them(make_flow: MakeFlow) -> None:
    folder = make_flow({"flow.dag.yaml": YAML, "ask.py": TOOL})
    assert {KEY, "server-key"} <= set(Opening(str(folder), key="server-key").secrets)
    assert Opening(str(folder / "nothing"), key="server-key").secrets == ["server-key"]


@given(st.text(max_size=300))
def test_no_file_breaks_it(text: str) -> None:
    assert isinstance(written_secrets(Path("/nowhere/flow.dag.yaml"), {"api_key": text}), set)
