"""LLM nodes against a server that speaks OpenAI's API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phoundry.flows import FlowError, FlowSession, init_flow, load_flow
from phoundry.flows.connections import resolved
from phoundry.flows.executor import Executor, surroundings
from phoundry.flows.runner import Outcome
from phoundry.specs.connection import ConnectionValues
from phoundry.specs.flow import FlowResult
from tests.flows.conftest import Connections, Endpoint, MakeFlow, custom

OpenSession = Callable[..., FlowSession]
KEY = "canary-9d3c44"


def chat_reply(body: dict[str, Any]) -> tuple[int, Any]:
    """The last message back, word by word when streaming is asked for."""
    words = body["messages"][-1]["content"].split(" ")
    if not body.get("stream"):
        return 200, {"choices": [{"message": {"role": "assistant", "content": " ".join(words)}}]}
    pieces = [word if index == 0 else f" {word}" for index, word in enumerate(words)]
    first = {"choices": [{"delta": {"role": "assistant", "content": None}}]}
    usage = {"choices": [], "usage": {"total_tokens": 3}}
    deltas = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    return 200, [first, *deltas, usage, "[DONE]"]


def own(endpoint: Endpoint, name: str = "faq") -> ConnectionValues:
    """A connection as Phoundry makes it for an endpoint of its own."""
    configs = {"api_base": f"{endpoint.url}/v1", "model": "faq"}
    return custom(name, configs, endpoint=f"{endpoint.url}/score", key=KEY)


def llm_flow(
    make_flow: MakeFlow, prompt: str, *, inputs: str = "", more: str = "", rest: str = ""
) -> Path:
    yaml = (
        "inputs:\n  q: {type: string, default: hi there}\n"
        "outputs:\n  answer: {type: string, reference: '${n.output}', is_chat_output: true}\n"
        "nodes:\n- name: n\n  type: llm\n  source: {type: code, path: p.jinja2}\n"
        f"{more}  inputs:\n    q: ${{inputs.q}}\n{inputs}{rest}"
    )
    return make_flow({"flow.dag.yaml": yaml, "p.jinja2": prompt})


def run_here(
    path: Path, *values: ConnectionValues, stream: bool = False, **overrides: str
) -> tuple[Outcome, list[str]]:
    """A run in this process, and the pieces that it streamed."""
    pieces: list[str] = []
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    flow = load_flow(path)
    connections = resolved(flow, Connections(*values), {}, given)
    with surroundings(flow, connections):
        executor = Executor(flow, connections)
        output = "answer" if stream else None
        return executor.run({}, on_piece=pieces.append, stream_output=output), pieces


def test_the_chat_template_streams_and_remembers(
    endpoint: Endpoint, open_session: OpenSession, tmp_path: Path
) -> None:
    endpoint.reply = chat_reply
    init_flow(tmp_path / "chat")
    session = open_session(tmp_path / "chat", own(endpoint))
    history = [{"inputs": {"question": "1\nsystem:\nx"}, "outputs": {"answer": "2"}}]
    *pieces, result = session.stream({"question": "three four", "chat_history": history})
    assert pieces == ["three", " four"]
    assert isinstance(result, FlowResult)
    assert result.output == {"answer": "three four"}
    [request] = endpoint.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["Authorization"] == f"Bearer {KEY}"
    assert request["body"] == {
        "model": "faq",
        "messages": [
            {"role": "user", "content": "1\nsystem:\nx"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "three four"},
        ],
        "temperature": 0,
        "max_tokens": 256,
        "stream": True,
    }


def test_a_run_asks_for_one_answer(
    endpoint: Endpoint, open_session: OpenSession, make_flow: MakeFlow
) -> None:
    endpoint.reply = chat_reply
    settings = (
        "    temperature: '0.5'\n    max_tokens: '7'\n    stop: ''\n    presence_penalty: 0\n"
    )
    session = open_session(
        llm_flow(make_flow, "system:\nBe kind.\nuser:\n{{q}}\n", inputs=settings), own(endpoint)
    )
    assert session.run({}).output == {"answer": "hi there"}
    assert endpoint.requests[0]["body"] == {
        "model": "faq",
        "temperature": 0.5,
        "max_tokens": 7,
        "presence_penalty": 0,
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hi there"},
        ],
    }


def test_nothing_streams_into_another_node(
    endpoint: Endpoint, open_session: OpenSession, make_flow: MakeFlow
) -> None:
    endpoint.reply = chat_reply
    rest = (
        "- name: p\n  type: prompt\n  source: {type: code, path: p.jinja2}\n"
        "  inputs: {q: '${n.output}'}\n"
    )
    session = open_session(llm_flow(make_flow, "user:\n{{q}}", rest=rest), own(endpoint))
    *pieces, result = session.stream({})
    assert pieces == ["hi there"]
    assert "stream" not in endpoint.requests[0]["body"]
    assert isinstance(result, FlowResult)


@pytest.mark.parametrize(
    ("inputs", "overrides", "model"),
    [
        ("", {}, "faq"),
        ("    model: mine\n", {}, "mine"),
        ("    deployment_name: mine\n", {}, "mine"),
        ("    model: mine\n", {"n__model": "other"}, "other"),
        ("    model: mine\n", {"n__deployment_name": "other"}, "other"),
    ],
)
def test_which_model_is_asked(
    endpoint: Endpoint,
    make_flow: MakeFlow,
    inputs: str,
    overrides: dict[str, str],
    model: str,
) -> None:
    endpoint.reply = chat_reply
    path = llm_flow(make_flow, "user:\n{{q}}", inputs=inputs)
    outcome, _ = run_here(path, own(endpoint), **overrides)
    assert outcome.error is None
    assert endpoint.requests[0]["body"]["model"] == model


def test_an_override_leads_to_another_connection_in_a_warm_session(
    open_session: OpenSession, make_flow: MakeFlow, endpoint: Endpoint
) -> None:
    endpoint.reply = chat_reply
    second = custom("second", {"api_base": f"{endpoint.url}/two", "model": "b"}, key="k2-canary")
    path = llm_flow(make_flow, "user:\n{{q}}", more="  connection: faq\n")
    session = open_session(path, own(endpoint), second)
    session.run({})
    session.run({}, overrides={"n.connection": "second"})
    session.run({})
    paths = [request["path"] for request in endpoint.requests]
    assert paths == ["/v1/chat/completions", "/two/chat/completions", "/v1/chat/completions"]


def test_an_openai_connection(
    endpoint: Endpoint, open_session: OpenSession, make_flow: MakeFlow
) -> None:
    endpoint.reply = chat_reply
    values = ConnectionValues(
        name="oai", type="open_ai", configs={"base_url": endpoint.url}, secrets={"api_key": KEY}
    )
    path = llm_flow(make_flow, "user:\n{{q}}", inputs="    model: gpt\n")
    assert open_session(path, values).run({}).output == {"answer": "hi there"}


def test_completion(endpoint: Endpoint, open_session: OpenSession, make_flow: MakeFlow) -> None:
    endpoint.reply = lambda body: (200, {"choices": [{"text": body["prompt"].upper()}]})
    path = llm_flow(make_flow, "say {{q}}", more="  api: completion\n")
    session = open_session(path, own(endpoint))
    assert session.run({"q": "a\nuser:\nb"}).output == {"answer": "SAY A\nUSER:\nB"}
    assert endpoint.requests[0]["path"] == "/v1/completions"


def test_offered_tools_give_the_whole_message(
    endpoint: Endpoint, open_session: OpenSession, make_flow: MakeFlow
) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    endpoint.reply = lambda body: (200, {"choices": [{"message": message}]})
    function = '{"name": "f", "parameters": {"type": "object", "properties": {}}}'
    inputs = f'    tools: [{{"type": "function", "function": {function}}}]\n'
    session = open_session(llm_flow(make_flow, "user:\n{{q}}", inputs=inputs), own(endpoint))
    output = session.run({}).output
    assert output is not None
    # With None for what OpenAI's client has and this message has not: flows ask for those keys.
    assert output["answer"].items() >= message.items()
    assert output["answer"]["function_call"] is None
    assert endpoint.requests[0]["body"]["tool_choice"] == "auto"


@pytest.mark.parametrize(
    ("status", "body", "text", "code"),
    [
        (401, {"error": {"message": "bad key"}}, "answered 401: bad key", "AuthenticationError"),
        (400, {"error": "no"}, "answered 400: no", "BadRequestError"),
        (404, {"error": "no"}, "answered 404: no", "NotFoundError"),
        (429, {"error": "slow down"}, "answered 429: slow down", "RateLimitError"),
        (503, {"detail": "x"}, 'answered 503: {"detail": "x"}', "InternalServerError"),
        (307, {}, "answered 307", "APIStatusError"),
        (200, {"hello": 1}, "has no choices", "APIResponseValidationError"),
        (200, {"error": {"message": "inside"}}, "inside", "APIResponseValidationError"),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_server_that_fails(
    endpoint: Endpoint,
    make_flow: MakeFlow,
    status: int,
    body: dict[str, Any],
    text: str,
    code: str,
    streaming: bool,
) -> None:
    endpoint.reply = lambda _: (status, [body] if streaming and status == 200 else body)
    outcome, pieces = run_here(llm_flow(make_flow, "user:\n{{q}}"), own(endpoint), stream=streaming)
    assert outcome.error is not None
    assert outcome.error.codes == ["UserError", "OpenAIError", code]
    assert text in outcome.error.message
    assert pieces == []
    assert len(endpoint.requests) == 1  # a redirect is not followed with the key


def test_a_server_that_quotes_the_key_does_not_get_it_shown(
    endpoint: Endpoint, open_session: OpenSession, make_flow: MakeFlow
) -> None:
    endpoint.reply = lambda _: (401, {"error": {"message": f"bad key {KEY}"}})
    session = open_session(llm_flow(make_flow, "user:\n{{q}}"), own(endpoint))
    result = session.run({})
    assert result.error is not None
    assert "answered 401: bad key ***" in result.error["message"]
    assert KEY not in str(result.error)


def test_a_stream_that_breaks_off_is_an_error_after_its_pieces(
    endpoint: Endpoint, make_flow: MakeFlow
) -> None:
    endpoint.reply = lambda _: (200, [{"choices": [{"delta": {"content": "half"}}]}])
    outcome, pieces = run_here(llm_flow(make_flow, "user:\n{{q}}"), own(endpoint), stream=True)
    assert pieces == ["half"]
    assert "broke off" in str(outcome.error)


def test_no_server_there(make_flow: MakeFlow, endpoint: Endpoint) -> None:
    values = own(endpoint)
    endpoint.server.server_close()
    outcome, _ = run_here(llm_flow(make_flow, "user:\n{{q}}"), values)
    assert "could not be reached" in str(outcome.error)
    assert "phoundry status" in str(outcome.error)


@pytest.mark.parametrize(
    ("prompt", "more", "configs", "code", "text"),
    [
        (
            "{{q}}",
            "",
            {"api_base": "http://127.0.0.1:9", "model": "m"},
            "ChatAPIInvalidRole",
            "`system:`",
        ),
        (
            "user:\n{{q}}",
            "  api: sing\n",
            {"api_base": "http://x", "model": "m"},
            "APINotFound",
            "sing",
        ),
        ("user:\n{{q}}", "", {"api_base": "http://x"}, "InvalidConnectionType", "names no model"),
        (
            "user:\n{% if %}",
            "",
            {"api_base": "http://x", "model": "m"},
            "TemplateSyntaxError",
            "line 2",
        ),
    ],
)
def test_faults_of_the_flow(
    make_flow: MakeFlow, prompt: str, more: str, configs: dict[str, str], code: str, text: str
) -> None:
    path = llm_flow(make_flow, prompt, more=more)
    try:
        error = run_here(path, custom("c", configs, key="k"))[0].error
    except FlowError as raised:
        error = raised
    assert error is not None
    assert error.code == code
    assert text in str(error)


@pytest.mark.parametrize("kind", ["custom", "azure_open_ai"])
def test_a_key_is_sent_without_its_line_break_or_not_at_all(
    endpoint: Endpoint, make_flow: MakeFlow, kind: str
) -> None:
    """A key from a file ends with a line break; httpx quoted it in its error, escaped, so that
    nothing hid it."""
    endpoint.reply = chat_reply
    path = llm_flow(make_flow, "user:\n{{q}}", more="  connection: faq\n", inputs="    model: m\n")

    def run_with(key: str) -> Outcome:
        configs = {"api_base": f"{endpoint.url}/v1"}
        values = ConnectionValues(name="faq", type=kind, configs=configs, secrets={"api_key": key})
        return run_here(path, values)[0]

    assert run_with(f"{KEY}\n").error is None
    sent = endpoint.requests[0]["headers"].values()
    assert KEY in sent or f"Bearer {KEY}" in sent
    for key in (f"{KEY}\n{KEY}", f"{KEY}ключ"):
        with pytest.raises(FlowError, match="can't be sent") as caught:
            run_with(key)
        assert KEY not in str(caught.value.to_dict())


@pytest.mark.parametrize("setting", ["temperature: .nan", "stop: ['\\ud800']"])
def test_what_no_json_has_fails_the_node(
    endpoint: Endpoint, make_flow: MakeFlow, setting: str
) -> None:
    endpoint.reply = chat_reply
    text = setting.replace("'", '"')
    outcome = run_here(llm_flow(make_flow, "user:\n{{q}}", inputs=f"    {text}\n"), own(endpoint))[
        0
    ]
    assert outcome.error is not None
    assert (outcome.error.code, outcome.nodes) == ("LLMError", {"n": "Failed"})
    assert endpoint.requests == []
