"""`promptflow.tools` in Python and as package tools, against a server of our own."""

from __future__ import annotations

from typing import Any

import pytest

from phoundry.flows.connections import resolved
from phoundry.flows.executor import surroundings
from phoundry.flows.load import load_flow
from phoundry.flows.runner import Outcome, open_runner
from phoundry.specs.connection import ConnectionType, ConnectionValues
from tests.flows.conftest import Connections, Endpoint, MakeFlow

KEY = "canary-tools"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)


def connection(kind: ConnectionType, **configs: str) -> ConnectionValues:
    return ConnectionValues(name="c", type=kind, configs=configs, secrets={"api_key": KEY})


def run(
    make_flow: MakeFlow, files: dict[str, str], values: ConnectionValues, **inputs: Any
) -> Outcome:
    flow = load_flow(make_flow(files))
    found = resolved(flow, Connections(values), {}, {})
    with surroundings(flow, found):
        return open_runner(flow, found).run(inputs)


def answer(outcome: Outcome) -> Any:
    assert outcome.error is None
    assert outcome.output is not None
    return outcome.output["o"]


def node(source: str, inputs: str, kind: str = "python", more: str = "") -> str:
    return (
        "inputs:\n  q: {type: string, default: hi}\n"
        + ("  i: {type: image}\n" if "inputs.i" in inputs else "")
        + "outputs:\n  o: {type: object, reference: '${n.output}'}\n"
        f"nodes:\n- name: n\n  type: {kind}\n  source: {source}\n{more}  inputs: {inputs}\n"
    )


PYTHON = """\
from promptflow.core import tool
from promptflow.connections import AzureOpenAIConnection
from promptflow.tools.aoai import AzureOpenAI, chat, completion
from promptflow.tools.common import build_messages, parse_chat, render_jinja_template
from promptflow.tools.embedding import embedding
from promptflow.tools.exception import WrappedOpenAIError
from promptflow.tools.openai import chat as openai_chat
@tool
def t(c: AzureOpenAIConnection, q: str):
    prompt = "system:\\nBe {{kind}}.\\nuser:\\n{{q}}"
    try:
        chat(c, "user:\\nrefuse", deployment_name="d")
    except WrappedOpenAIError as error:
        refused = type(error).__name__
    return [
        chat(c, prompt, deployment_name="d", kind="kind", q=q, max_tokens="inf", stop=[]),
        AzureOpenAI(c).chat(prompt=prompt, deployment_name="d", q=q, temperature=0),
        completion(c, "say {{q}}", deployment_name="d", q=q),
        "".join(chat(c, "user:\\na b", deployment_name="d", stream=True)),
        embedding(c, "text", deployment_name="e"),
        render_jinja_template("{{a}}\\n", a=1),
        parse_chat("user:\\nx")[0]["content"],
        build_messages("user:\\n{{q}}", q="a\\nsystem:\\nb"),
        refused,
    ]
"""


def reply(body: dict[str, Any]) -> tuple[int, Any]:
    if "input" in body:
        return 200, {"data": [{"embedding": [0.5, 1.0]}]}
    if "prompt" in body:
        return 200, {"choices": [{"text": body["prompt"].upper()}]}
    last = body["messages"][-1]["content"]
    if last == "refuse":
        return 400, {"error": "no"}
    if body.get("stream"):
        return 200, [*({"choices": [{"delta": {"content": c}}]} for c in last), "[DONE]"]
    return 200, {"choices": [{"message": {"content": last}}]}


def test_functions_that_tools_call(make_flow: MakeFlow, endpoint: Endpoint) -> None:
    endpoint.reply = reply
    files = {
        "flow.dag.yaml": node("{type: code, path: t.py}", "{c: c, q: '${inputs.q}'}"),
        "t.py": PYTHON,
    }
    found = answer(run(make_flow, files, connection("azure_open_ai", api_base=endpoint.url)))
    escaped = [{"role": "user", "content": "a\nsystem:\nb"}]
    assert found == [
        "hi", "hi", "SAY HI", "a b", [0.5, 1.0], "1\n", "x", escaped, "BadRequestError",
    ]  # fmt: skip
    sent = endpoint.requests[1]["body"]
    assert sent["messages"][0] == {"role": "system", "content": "Be kind."}
    assert "max_tokens" not in sent
    assert "stop" not in sent
    assert endpoint.requests[1]["headers"]["api-key"] == KEY


def test_embedding_as_a_package_tool(make_flow: MakeFlow, endpoint: Endpoint) -> None:
    endpoint.reply = reply
    yaml = node(
        "{type: package, tool: promptflow.tools.embedding.embedding}",
        "{connection: c, deployment_name: e, input: '${inputs.q}'}",
    )
    values = connection("azure_open_ai", api_base=endpoint.url)
    assert answer(run(make_flow, {"flow.dag.yaml": yaml}, values)) == [0.5, 1.0]
    assert endpoint.requests[0]["path"].startswith("/openai/deployments/e/embeddings?api-version=")


@pytest.mark.parametrize(
    ("tool", "kind", "model"),
    [
        ("aoai_gpt4v.AzureOpenAI.chat", "azure_open_ai", "deployment_name"),
        ("openai_gpt4v.OpenAI.chat", "open_ai", "model"),
        ("llm_vision.llm_vision", "open_ai", "model"),
    ],
)
def test_vision(
    make_flow: MakeFlow, endpoint: Endpoint, tool: str, kind: ConnectionType, model: str
) -> None:
    endpoint.reply = lambda body: (200, {"choices": [{"message": {"content": "a pixel"}}]})
    yaml = node(
        f"{{type: package_with_prompt, tool: promptflow.tools.{tool}, path: p.jinja2}}",
        f"{{connection: c, {model}: m, detail: low, q: '${{inputs.q}}', i: '${{inputs.i}}'}}",
        "custom_llm",
    )
    base = {"api_base" if kind == "azure_open_ai" else "base_url": endpoint.url}
    image = {"data:image/png;base64": PIXEL}
    files = {"flow.dag.yaml": yaml, "p.jinja2": "# user:\n{{q}}\n![image]({{i}})\n"}
    assert answer(run(make_flow, files, connection(kind, **base), i=image)) == "a pixel"
    content = endpoint.requests[0]["body"]["messages"][0]["content"]
    url = f"data:image/png;base64,{PIXEL}"
    assert content == [
        {"type": "text", "text": "hi"},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
    ]
    assert endpoint.requests[0]["body"]["model"] == "m"


@pytest.mark.parametrize(
    ("severity", "sensitivity", "action"),
    [
        (4, "medium_sensitivity", "Reject"),
        (2, "medium_sensitivity", "Accept"),
        (6, "disable", "Accept"),
    ],
)
def test_content_safety(
    make_flow: MakeFlow, endpoint: Endpoint, severity: int, sensitivity: str, action: str
) -> None:
    found = [{"category": "Hate", "severity": severity}]
    endpoint.reply = lambda body: (200, {"categoriesAnalysis": found})
    yaml = node(
        "{type: package, tool: promptflow.tools.azure_content_safety.analyze_text}",
        f"{{connection: c, text: '${{inputs.q}}', hate_category: {sensitivity}}}",
    )
    values = connection("azure_content_safety", endpoint=endpoint.url)
    result = answer(run(make_flow, {"flow.dag.yaml": yaml}, values))
    assert result["suggested_action"] == action
    assert result["action_by_category"]["Hate"] == action
    assert endpoint.requests[0]["headers"]["Ocp-Apim-Subscription-Key"] == KEY
