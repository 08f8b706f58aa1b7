"""Prompties: run as flows, called from Python, configured in every way that there is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phoundry.flows.connections import resolved
from phoundry.flows.errors import FlowError
from phoundry.flows.executor import surroundings
from phoundry.flows.load import load_flow
from phoundry.flows.runner import Outcome, open_runner
from phoundry.specs.connection import ConnectionValues
from tests.flows.conftest import Connections, Endpoint, MakeFlow, custom

KEY = "canary-31aa"
INPUTS = "inputs:\n  q: {type: string}\n"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)


def echo(body: dict[str, Any]) -> tuple[int, Any]:
    text = body["messages"][-1]["content"]
    text = text if isinstance(text, str) else json.dumps(text)
    if body.get("stream"):
        return 200, [*({"choices": [{"delta": {"content": c}}]} for c in text), "[DONE]"]
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}}]}


@pytest.fixture
def server(endpoint: Endpoint) -> Iterator[Endpoint]:
    endpoint.reply = echo
    return endpoint  # type: ignore[return-value]


def written(configuration: str, body: str = "user:\n{{q}}\n", more: str = INPUTS) -> str:
    return f"---\nname: P\nmodel:\n  configuration:\n{configuration}{more}---\n{body}"


def open_ai(server: Endpoint, *, key: str = KEY) -> str:
    return f"    type: openai\n    model: gpt\n    base_url: {server.url}/v1\n    api_key: {key}\n"


def run(path: Path, inputs: dict[str, Any], *values: ConnectionValues, **options: Any) -> Outcome:
    flow = load_flow(path)
    init = options.pop("init", None)
    connections = resolved(flow, Connections(*values), {}, {}, init)
    with surroundings(flow, connections):
        return open_runner(flow, connections, init).run(inputs, **options)


def test_inputs_and_outputs_are_those_of_the_file(make_flow: MakeFlow, server: Endpoint) -> None:
    more = (
        "inputs:\n  q: {type: string}\n  chat_history: {type: list, default: []}\n"
        "outputs:\n  a: {type: int}\n"
    )
    path = make_flow({"p.prompty": written(open_ai(server), more=more)}) / "p.prompty"
    flow = load_flow(path)
    assert {name: item.type for name, item in flow.inputs.items()} == {
        "q": "string",
        "chat_history": "list",
    }
    assert flow.inputs["chat_history"].is_chat_history
    assert list(flow.outputs) == ["a"]
    assert load_flow(path.parent).file == path


def test_variables_of_the_environment(
    make_flow: MakeFlow, server: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = written(open_ai(server, key="${env:PROMPTY_KEY}"))
    path = make_flow({"p.prompty": text}) / "p.prompty"
    missing = run(path, {"q": "x"}).error
    assert missing is not None
    assert "PROMPTY_KEY" in missing.message
    assert server.requests == []
    monkeypatch.setenv("PROMPTY_KEY", KEY)
    assert run(path, {"q": "x"}).output == {"output": "x"}
    assert server.requests[0]["headers"]["Authorization"] == f"Bearer {KEY}"


def test_openai_s_own_variables_when_nothing_is_written(
    make_flow: MakeFlow, server: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_flow({"p.prompty": written("    type: openai\n    model: g\n")}) / "p.prompty"
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    missing = run(path, {"q": "x"}).error
    assert missing is not None
    assert missing.codes[-1] == "RequiredEnvironmentVariablesNotSetError"
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    assert run(path, {"q": "x"}).output == {"output": "x"}


@pytest.mark.parametrize(
    ("connection", "path"),
    [
        (
            ConnectionValues(
                name="c",
                type="azure_open_ai",
                configs={"api_base": "@", "api_version": "v1"},
                secrets={"api_key": KEY},
            ),
            "/openai/deployments/d/chat/completions?api-version=v1",
        ),
        (
            ConnectionValues(
                name="c", type="open_ai", configs={"base_url": "@/v1"}, secrets={"api_key": KEY}
            ),
            "/v1/chat/completions",
        ),
        (
            ConnectionValues(
                name="c", type="serverless", configs={"api_base": "@"}, secrets={"api_key": KEY}
            ),
            "/v1/chat/completions",
        ),
        (
            ConnectionValues(
                name="c",
                type="serverless",
                configs={"api_base": "@/chat/completions"},
                secrets={"api_key": KEY},
            ),
            "/chat/completions",
        ),
        (custom("c", {"api_base": "@/v1"}, key=KEY), "/v1/chat/completions"),
    ],
)
def test_a_connection_by_its_name(
    make_flow: MakeFlow, server: Endpoint, connection: ConnectionValues, path: str
) -> None:
    configs = {key: value.replace("@", server.url) for key, value in connection.configs.items()}
    found = connection.model_copy(update={"configs": configs})
    text = written("    type: azure_openai\n    connection: c\n    azure_deployment: d\n")
    file = make_flow({"p.prompty": text}) / "p.prompty"
    unasked = custom("unasked", key="x")
    assert run(file, {"q": "x"}, found, unasked).output == {"output": "x"}
    assert server.requests[0]["path"] == path
    assert server.requests[0]["body"]["model"] == "d"


def test_settings_given_for_a_run_go_over_the_file_s(make_flow: MakeFlow, server: Endpoint) -> None:
    path = make_flow({"p.prompty": written(open_ai(server))}) / "p.prompty"
    init = {"model": {"configuration": {"model": "other"}, "parameters": {"seed": 7}}}
    run(path, {"q": "x"}, init=init)
    body = server.requests[0]["body"]
    assert (body["model"], body["seed"]) == ("other", 7)


def test_pieces_come_as_they_are_made(make_flow: MakeFlow, server: Endpoint) -> None:
    path = make_flow({"p.prompty": written(open_ai(server))}) / "p.prompty"
    pieces: list[str] = []
    outcome = run(path, {"q": "abc"}, on_piece=pieces.append, stream_output="output")
    assert pieces == ["a", "b", "c"]
    assert outcome.output == {"output": "abc"}


@pytest.mark.parametrize("kind", ["string", "image"])
@pytest.mark.parametrize("form", ["path", "base64", "url"])
def test_images(make_flow: MakeFlow, server: Endpoint, form: str, kind: str) -> None:
    import base64

    body = "user:\n{{q}}\n![image]({{i}})\nlook\n"
    more = f"inputs:\n  q: {{type: string}}\n  i: {{type: {kind}}}\n"
    folder = make_flow({"p.prompty": written(open_ai(server), body, more)})
    (folder / "cat.png").write_bytes(base64.b64decode(PIXEL))
    what = {"path": "cat.png", "base64": PIXEL, "url": "https://example.com/cat.png"}[form]
    run(folder / "p.prompty", {"q": "see", "i": f"data:image/png;{form}: {what}"})
    content = server.requests[0]["body"]["messages"][0]["content"]
    url = what if form == "url" else f"data:image/png;base64,{PIXEL}"
    assert content == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": url, "detail": "auto"}},
        {"type": "text", "text": "look"},
    ]


@pytest.mark.parametrize(
    ("given", "asked"),
    [({}, "[1] b"), ({"q": "word"}, "word b"), ({"q": "", "z": 1}, " b"), ({"p": 2.5}, "[1] 2.5")],
)
def test_a_sample_alone_is_an_example_and_no_declaration(
    make_flow: MakeFlow, server: Endpoint, given: dict[str, Any], asked: str
) -> None:
    body = "user:\n{{q}} {{p}}\n"
    path = make_flow({"p.prompty": written(open_ai(server), body, "sample:\n  q: [1]\n  p: b\n")})
    outcome = run(path / "p.prompty", given)
    assert outcome.error is None, outcome.error
    assert server.requests[-1]["body"]["messages"][-1]["content"] == asked.strip()


def test_an_image_that_is_not_there(make_flow: MakeFlow, server: Endpoint) -> None:
    path = make_flow({"p.prompty": written(open_ai(server))}) / "p.prompty"
    error = run(path, {"q": "data:image/png;path: no.png"}).error
    assert error is not None
    assert "no.png" in error.message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("user:\nhi\n", "front matter"),
        ("---\nmodel: 3\n---\nuser:\nhi\n", "`model`"),
        ("---\nname: [\n---\nuser:\nhi\n", "p.prompty:"),
        ("---\nname: x\n---\nuser:\nhi\n", "how it is called"),
        ("---\nmodel:\n  api: sing\n  configuration: {type: openai}\n---\nuser:\n", "sing"),
        (
            "---\nmodel:\n  configuration: {type: openai}\nsample: ${file:no.json}\n---\nuser:\n",
            "no.json",
        ),
    ],
)
def test_faults_are_named(make_flow: MakeFlow, text: str, part: str) -> None:
    path = make_flow({"p.prompty": text}) / "p.prompty"
    try:
        error: FlowError | None = run(path, {"q": "x"}).error
    except FlowError as raised:
        error = raised
    assert error is not None
    assert part in str(error)


PYTHON = """\
import asyncio
from promptflow.core import AsyncFlow, AsyncPrompty, Flow, Prompty, tool
from promptflow.client import load_flow
@tool
def t(q: str):
    p = Prompty.load(source="p.prompty")
    whole = Prompty.load(source="p.prompty", model={"response": "all"})(q=q)
    async def both():
        first, second = AsyncPrompty.load(source="p.prompty"), AsyncFlow.load("p.prompty")
        return await asyncio.gather(first(q=q), second(q=q))
    return [
        p(q=q),
        whole.choices[0].message.content,
        p.render(q=q),
        p.estimate_token_count(q="x" * 40) - p.estimate_token_count(q=""),
        Flow.load("p.prompty")(q=q),
        load_flow("p.prompty")(q=q),
        asyncio.run(both()),
    ]
"""


def test_from_python(make_flow: MakeFlow, server: Endpoint, open_session: Any) -> None:
    yaml = (
        "inputs:\n  q: {type: string}\noutputs:\n  o: {type: list, reference: '${n.output}'}\n"
        "nodes:\n- name: n\n  type: python\n  source: {type: code, path: t.py}\n"
        "  inputs: {q: '${inputs.q}'}\n"
    )
    configuration = "    connection: c\n    model: m\n"
    files = {"flow.dag.yaml": yaml, "t.py": PYTHON, "p.prompty": written(configuration)}
    session = open_session(make_flow(files), custom("c", {"api_base": server.url}, key=KEY))
    result = session.run({"q": "hi"})
    assert result.error is None
    rendered = "[{'role': 'user', 'content': 'hi'}]"
    assert result.output == {"o": ["hi", "hi", rendered, 10, "hi", "hi", ["hi", "hi"]]}
