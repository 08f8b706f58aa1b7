"""Which input is typed into and which output answers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from phoundry.errors import Conflict, PhoundryError, UsageError
from phoundry.flows import ChatRoles, chat_roles, load_flow
from phoundry.flows.model import Flow
from phoundry.serving.flow.hosted import roles_of
from phoundry.specs.flow import FlowSettings
from tests.flows.conftest import MakeFlow


def flow(make_flow: MakeFlow, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Flow:
    lines = ["inputs:", *(f"  {name}: {{{text}}}" for name, text in inputs.items())]
    lines += ["outputs:", *(f"  {name}: {{{text}}}" for name, text in outputs.items())]
    return load_flow(make_flow({"flow.dag.yaml": "\n".join([*lines, "nodes: []\n"])}))


STRING = "type: string, default: x"
OUT = "type: string, reference: abc"


def test_the_only_string_that_is_not_the_history_and_the_only_output(make_flow: MakeFlow) -> None:
    inputs = {"k": "type: int, default: 1", "chat_history": "type: list", "q": STRING}
    found = chat_roles(flow(make_flow, inputs, {"a": OUT}), None)
    assert found == ChatRoles("q", "a", "chat_history")
    assert found.turn("hi", "ho") == {"inputs": {"q": "hi"}, "outputs": {"a": "ho"}}


def test_the_files_marks_win_over_what_is_remembered_and_the_call_over_both(
    make_flow: MakeFlow,
) -> None:
    inputs = {
        "p": STRING,
        "q": f"{STRING}, is_chat_input: true",
        "h": "type: list, is_chat_history: true",
    }
    made = flow(make_flow, inputs, {"a": OUT, "b": f"{OUT}, is_chat_output: true"})
    kept = FlowSettings(path="x", chat_input="p", chat_output="a")
    assert chat_roles(made, kept) == ChatRoles("q", "b", "h")
    assert chat_roles(made, kept, chat_input="p", chat_output="a") == ChatRoles("p", "a", "h")


def test_remembered_roles_settle_what_the_file_leaves_open(make_flow: MakeFlow) -> None:
    made = flow(make_flow, {"p": STRING, "q": STRING, "h": "type: list"}, {"a": OUT, "b": OUT})
    kept = FlowSettings(path="x", chat_input="p", chat_output="b", chat_history="h")
    assert chat_roles(made, kept) == ChatRoles("p", "b", "h")


@pytest.mark.parametrize(
    ("inputs", "outputs", "options", "error", "text"),
    [
        ({"p": STRING, "q": STRING}, {"a": OUT}, {}, Conflict, "p, q"),
        ({"p": STRING, "q": STRING}, {"a": OUT}, {}, Conflict, "--chat-input p"),
        ({"q": STRING}, {"a": OUT, "b": OUT}, {}, Conflict, "--chat-output a"),
        ({"n": "type: int"}, {"a": OUT}, {}, Conflict, "none could be"),
        ({"q": STRING}, {"a": OUT}, {"chat_input": "qq"}, UsageError, "It has: q"),
    ],
)
def test_what_can_not_be_told_is_asked_for(
    make_flow: MakeFlow,
    inputs: dict[str, str],
    outputs: dict[str, str],
    options: dict[str, str],
    error: type[PhoundryError],
    text: str,
) -> None:
    with pytest.raises(error) as caught:
        chat_roles(flow(make_flow, inputs, outputs), None, **options)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("takes", "found"),
    [
        ("question: str, context: str, chat_history: list = []", "question"),
        ("text: str, tone: str = 'kind', chat_history: list = []", "text"),
        ("topic: str, chat_input: str, question: str, chat_history: list = []", "chat_input"),
        ("a: str, b: str, chat_history: list = []", None),
        ("question: str, context: str", None),  # no history: hardly a chat
    ],
)
def test_of_several_inputs_of_a_flex_flow_with_a_history_one_is_the_question(
    make_flow: MakeFlow, takes: str, found: str | None
) -> None:
    code = f"def chat({takes}) -> str:\n    return 'x'\n"
    made = load_flow(make_flow({"flow.flex.yaml": "entry: chat:chat\n", "chat.py": code}))
    if found is None:
        with pytest.raises(Conflict, match="several could be"):
            chat_roles(made, None)
        assert roles_of(made) is None
        return
    roles = chat_roles(made, None)
    assert (roles.input, roles.history, roles.messages) == (found, "chat_history", True)
    assert roles_of(made) == roles  # the page of a served flow is a chat, too
    named = chat_roles(made, FlowSettings(path="x", chat_input=next(iter(made.inputs))))
    assert named.input == next(iter(made.inputs))
