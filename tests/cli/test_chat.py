"""`phoundry chat` with endpoints, models and flows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.client.fake_api import FakeApi
from tests.client.flow_folders import echo_flow


@pytest.fixture
def faq(api: FakeApi, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """An endpoint `faq` with the model `faq:1` behind `faq/blue`, and a base model `small`."""
    monkeypatch.setattr("phoundry.client.client.Client.start", lambda self: None)
    api.deployment_states = [{"provisioning_state": "Succeeded"}]
    api.model_states = [{"status": "Ready"}]
    shell("endpoint", "create", "faq")
    shell("model", "register", "faq-model", "--job", "j")
    shell("deployment", "create", "faq/blue", "--model", "faq-model:1")
    return api


def test_one_message(shell: Shell, faq: FakeApi) -> None:
    done = shell("chat", "faq", "--message", "Hi?", "--system", "Be kind.")
    assert (done.code, done.out) == (0, "Hello.\n")
    assert faq.chats[0]["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi?"},
    ]
    asked = shell("chat", "faq", "-m", "Hi?", "-o", "json")
    assert asked.json == {"message": "Hi?", "answers": [{"name": "faq", "answer": "Hello."}]}


def test_lines_are_a_conversation_until_reset(shell: Shell, faq: FakeApi) -> None:
    done = shell("chat", "faq", stdin="a\n\nb\n/reset\nc\n/exit\nnever\n")
    assert (done.code, done.out) == (0, "Hello.\n" * 3)
    asked = [[turn["content"] for turn in chat["messages"]] for chat in faq.chats]
    assert asked == [["a"], ["a", "Hello.", "b"], ["c"]]


def test_help_and_mistyped_commands_are_not_asked(shell: Shell, faq: FakeApi) -> None:
    done = shell("chat", "faq", stdin="/help\n/quit\n")
    assert "/reset  forget the conversation" in done.err
    assert "There is no /quit" in done.err
    assert faq.chats == []


def test_a_failed_answer_ends_a_piped_chat_but_not_a_typed_one(shell: Shell, faq: FakeApi) -> None:
    faq.answers = []
    endpoint = faq.resources["endpoints"]["faq"]
    endpoint["openai_base_url"] = "http://127.0.0.1:9/v1"
    piped = shell("chat", "faq", stdin="a\nb\n")
    assert piped.code == 1
    assert piped.err.count("No gateway answers") == 1
    typed = shell("chat", "faq", stdin="a\nb\n", terminal=True)
    assert typed.code == 0
    assert typed.err.count("No gateway answers") == 2


def test_a_deployed_model_is_asked_where_it_is(shell: Shell, faq: FakeApi) -> None:
    assert shell("chat", "faq-model", "-m", "Hi").code == 0
    assert faq.chats[0]["model"] == "faq/blue"
    assert list(faq.resources["endpoints"]) == ["faq"]


def test_another_model_gets_an_endpoint_while_the_chat_lasts(shell: Shell, faq: FakeApi) -> None:
    done = shell("chat", "smollm2", "-m", "Hi")
    assert (done.code, done.out) == (0, "Hello.\n")
    assert "smollm2-135m-instruct is not deployed" in done.err
    made = faq.chats[0]["model"]
    assert made.startswith("chat-smollm2-135m-instruct-")
    assert list(faq.resources["endpoints"]) == ["faq"], "it is gone when the chat ends"


def test_it_is_gone_after_a_failure_too(shell: Shell, faq: FakeApi) -> None:
    faq.deployment_states = [
        {"provisioning_state": "Failed", "error": {"code": "ModelError", "message": "Broken."}}
    ]
    done = shell("chat", "smollm2", "-m", "Hi")
    assert done.code == 1
    assert "Broken." in done.err
    assert list(faq.resources["endpoints"]) == ["faq"]


def test_two_side_by_side(shell: Shell, faq: FakeApi) -> None:
    done = shell("chat", "faq", "--compare", "faq/blue", "-m", "Hi")
    assert done.out == "[faq]\nHello.\n\n[faq/blue]\nHello.\n\n"
    assert [chat["model"] for chat in faq.chats] == ["faq", "faq/blue"]


def test_unknown_names_come_with_the_nearest(shell: Shell, faq: FakeApi) -> None:
    done = shell("chat", "faq-modle", "-m", "Hi")
    assert done.code == 1
    assert "Did you mean faq-model" in done.err
    assert shell("chat", "faq/green", "-m", "Hi").code == 1


@pytest.mark.parametrize(
    "words",
    [["--chat-input", "x"], ["--connections", "a.b=c"], ["-o", "json"]],
)
def test_options_that_do_not_go_with_an_endpoint(
    shell: Shell, faq: FakeApi, words: list[str]
) -> None:
    assert shell("chat", "faq", *words).code == 2


def test_a_flow(shell: Shell, tmp_path: Path) -> None:
    flow = echo_flow(tmp_path / "echo")
    done = shell("chat", str(flow), stdin="a\nb\n/reset\nc\n")
    assert (done.code, done.out) == (0, "0: a\n1: b\n0: c\n")
    asked = shell("chat", str(flow), "-m", "Hi", "-o", "json")
    assert asked.json["answers"] == [{"name": "echo", "answer": "0: Hi"}]
    assert shell("chat", str(flow), "-m", "Hi", "--system", "x").code == 2
    failed = shell("chat", str(flow), "-m", "fail")
    assert failed.code == 1
    assert "asked to fail" in failed.err
