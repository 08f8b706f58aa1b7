"""The tutorial's two files run as they are, against an endpoint that speaks its dialect."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import Conflict, NotFound
from phoundry.flows import FlowSession, chat_roles, load_flow
from phoundry.specs.flow import FlowResult
from tests.flows.conftest import Endpoint, custom

TUTORIAL = Path(__file__).parents[3] / "shared" / "reference" / "tutorial"
KEY = "canary-key-7f3a"

pytestmark = pytest.mark.skipif(
    not TUTORIAL.exists(), reason=f"the tutorial's folder is not beside the project: {TUTORIAL}"
)


def azure_reply(body: dict[str, Any]) -> tuple[int, Any]:
    [message] = body["input_data"]["input_string"]
    return 200, {"output": f"{message['role']} asked: {message['content']}"}


def hashes() -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in TUTORIAL.iterdir()}


def test_runs_unmodified_with_the_only_fitting_connection(
    endpoint: Endpoint, open_session: Callable[..., FlowSession]
) -> None:
    endpoint.reply = azure_reply
    before = hashes()
    session = open_session(
        TUTORIAL,
        custom("other", {"region": "here"}),
        custom("phi3", endpoint=f"{endpoint.url}/score", key=KEY),
    )
    result = session.run({})
    assert result.status == "Completed", result.error
    assert result.output == {"answer": "user asked: Who founded Microsoft?"}
    assert session.connections == {"integrate_with_promptflow.connection": "phi3"}
    [request] = endpoint.requests
    assert request["headers"]["Authorization"] == f"Bearer {KEY}"
    assert request["body"]["input_data"]["parameters"] == {
        "temperature": 0.7,
        "max_new_tokens": 128,
    }
    assert hashes() == before


def test_chats_by_its_only_input_and_output(
    endpoint: Endpoint, open_session: Callable[..., FlowSession]
) -> None:
    endpoint.reply = azure_reply
    roles = chat_roles(load_flow(TUTORIAL), None)
    assert (roles.input, roles.output, roles.history) == ("input_data", "answer", None)
    session = open_session(TUTORIAL, custom("phi3", endpoint=f"{endpoint.url}/score", key=KEY))
    for question in ("first?", "second?"):
        pieces = list(session.stream({"input_data": question}))
        assert pieces[0] == f"user asked: {question}"
        assert isinstance(pieces[-1], FlowResult)


def test_a_wrong_key_is_the_tools_own_error_without_the_key(
    endpoint: Endpoint, open_session: Callable[..., FlowSession]
) -> None:
    endpoint.reply = lambda body: (401, {"error": "no"})
    session = open_session(
        TUTORIAL, custom("phi3", endpoint=f"{endpoint.url}/score?token={KEY}", key=KEY)
    )
    result = session.run({"input_data": "hi"})
    assert result.status == "Failed"
    assert result.nodes == {"integrate_with_promptflow": "Failed"}
    assert result.error is not None
    assert result.error["codes"] == ["UserError", "ToolExecutionError"]
    assert result.error["message"].startswith(
        "Execution failure in 'integrate_with_promptflow': (HTTPError) 401"
    )
    assert KEY not in str(result.error)
    assert KEY not in session.log()
    [details] = result.error["additionalInfo"]
    assert details["info"]["type"] == "HTTPError"
    assert "integrate_with_promptflow.py" in details["info"]["traceback"]
    assert "phoundry/flows" not in details["info"]["traceback"]


def test_without_a_fitting_connection_the_keys_are_named(
    open_session: Callable[..., FlowSession],
) -> None:
    session = open_session(TUTORIAL, custom("other", {"endpoint": "http://x"}))
    with pytest.raises(NotFound) as caught:
        session.run({})
    text = str(caught.value)
    assert "endpoint, key" in text
    assert "phoundry connection create" in text
    assert "--connections integrate_with_promptflow.connection=NAME" in text


def test_two_fitting_connections_must_be_chosen_between_and_the_choice_is_kept(
    endpoint: Endpoint, open_session: Callable[..., FlowSession]
) -> None:
    endpoint.reply = azure_reply
    url = f"{endpoint.url}/score"
    session = open_session(
        TUTORIAL, custom("a", endpoint=url, key="ka-1"), custom("b", endpoint=url, key="kb-1")
    )
    with pytest.raises(Conflict, match=r"a, b") as caught:
        session.run({})
    assert "--connections integrate_with_promptflow.connection=a" in str(caught.value)
    override = {"integrate_with_promptflow.connection": "b"}
    assert session.run({}, overrides=override).status == "Completed"
    assert endpoint.requests[-1]["headers"]["Authorization"] == "Bearer kb-1"
    session.settings.connections.update(session.connections)
    assert session.run({}).status == "Completed"
    assert endpoint.requests[-1]["headers"]["Authorization"] == "Bearer kb-1"
