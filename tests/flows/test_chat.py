"""Which input is typed into and which output answers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from phoundry.errors import Conflict, PhoundryError, UsageError
from phoundry.flows import ChatRoles, chat_roles, load_flow
from phoundry.flows.model import Flow
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
