"""OpenAI's rules of a message beyond role and content."""

from __future__ import annotations

import json
from typing import Any

import pytest

from phoundry.data import check_messages, row_digest, to_line
from tests.data.conftest import WriteRows
from tests.data.written import read

USER = {"role": "user", "content": "Weather?"}
ANSWER = {"role": "assistant", "content": "Sun."}
FUNCTION = {"name": "weather", "arguments": '{"city": "Lund"}'}
CALL = {"id": "a1", "type": "function", "function": FUNCTION}
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "sun", "tool_call_id": "a1"}
TOOL = {"type": "function", "function": {"name": "weather"}}


def one(write_rows: WriteRows, *messages: Any, **other: Any) -> Any:
    _, accepted, refused = read(write_rows({"messages": list(messages), **other}))
    return accepted[0] if accepted else refused[0]


def test_all_that_a_message_may_have_is_kept_in_a_fixed_order(write_rows: WriteRows) -> None:
    row = {
        "tools": [TOOL],
        "messages": [
            {"name": "ann", "content": "Weather?", "role": "user"},
            {"weight": 0, "tool_calls": [CALL], "role": "assistant", "content": ""},
            {"tool_call_id": "a1", "content": "sun", "role": "tool"},
            {"weight": 1, **ANSWER},
        ],
    }
    _, (accepted,), _ = read(write_rows(row))
    assert accepted == row
    assert to_line(accepted).decode().rstrip() == json.dumps(
        {
            "messages": [
                {"role": "user", "content": "Weather?", "name": "ann"},
                {"role": "assistant", "content": "", "tool_calls": [CALL], "weight": 0},
                {"role": "tool", "content": "sun", "tool_call_id": "a1"},
                {"role": "assistant", "content": "Sun.", "weight": 1},
            ],
            "tools": [TOOL],
        },
        separators=(",", ":"),
    )
    assert check_messages(write_rows(to_line(accepted).rstrip())).rows == [accepted]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"role": "developer", "content": "Be."}, {"role": "system", "content": "Be."}),
        (USER | {"name": None, "weight": None, "x": None}, USER),
        ({"role": "user", "content": [{"type": "text", "text": "Weather?"}]}, USER),
        ({"role": "function", "name": "weather", "content": "sun"},
         {"role": "tool", "name": "weather", "content": "sun"}),
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, CALLING),
        ({"role": "assistant", "tool_calls": [CALL]}, CALLING),
        ({"role": "assistant", "content": "", "tool_calls": [{"id": "a1", "function": FUNCTION}]},
         CALLING),
        ({"role": "assistant", "content": None, "function_call": FUNCTION},
         CALLING | {"tool_calls": [CALL | {"id": "call_1"}]}),
        ({"role": "assistant", "content": "",
          "tool_calls": [{"id": "a1", "function": {"name": "weather",
                                                   "arguments": {"city": "Lund"}}}]}, CALLING),
        (CALLING | {"tool_calls": []}, {"role": "assistant", "content": ""}),
        (ANSWER | {"weight": 1.0}, ANSWER | {"weight": 1}),
    ],
)  # fmt: skip
def test_other_ways_to_write_the_same(
    write_rows: WriteRows, written: dict[str, Any], meant: dict[str, Any]
) -> None:
    assert one(write_rows, USER, written, ANSWER) == {"messages": [USER, meant, ANSWER]}


def test_calls_without_an_id_are_numbered_through_the_conversation(write_rows: WriteRows) -> None:
    bare = {"role": "assistant", "tool_calls": [{"name": "f"}, {"function": {"name": "g"}}]}
    row = one(write_rows, USER, bare, RESULT | {"tool_call_id": "call_1"}, bare, ANSWER)
    calls = [call for message in row["messages"] for call in message.get("tool_calls", [])]
    assert [call["id"] for call in calls] == ["call_1", "call_2", "call_3", "call_4"]
    assert {call["function"]["arguments"] for call in calls} == {"{}"}


@pytest.mark.parametrize(
    ("message", "kind", "reason"),
    [
        (ANSWER | {"weight": 2}, "bad weight", "messages[1] has the weight 2; 0 and 1 are known"),
        (ANSWER | {"weight": True}, "bad weight", "messages[1] has the weight true"),
        (ANSWER | {"weight": "1"}, "bad weight", 'messages[1] has the weight "1"'),
        (USER | {"weight": 1}, "bad weight", "messages[1] has a weight and is not an assistant"),
        (USER | {"name": 3}, "bad name", "messages[1]: 'name' is not text but a number"),
        (USER | {"tool_calls": [CALL]}, "tool calls", "messages[1] has tool calls and is not an"),
        (ANSWER | {"tool_calls": {}}, "tool calls", "messages[1]: 'tool_calls' is not a list"),
        (ANSWER | {"tool_calls": [3]}, "tool calls", "messages[1].tool_calls[0]: not an object"),
        (ANSWER | {"tool_calls": [{"function": {}}]}, "tool calls",
         "messages[1].tool_calls[0]: no 'name' of a function"),
        (ANSWER | {"tool_calls": [{"name": "f", "arguments": "{"}]}, "not JSON",
         "messages[1].tool_calls[0]: not JSON"),
        (ANSWER | {"tool_calls": [{"name": "f", "arguments": [1]}]}, "tool call arguments",
         "messages[1].tool_calls[0]: 'arguments' are not an object but a list"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "content not text",
         "messages[1]: content is not text but a list"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_message_is_told(
    write_rows: WriteRows, message: dict[str, Any], kind: str, reason: str
) -> None:
    refused = one(write_rows, USER, message, ANSWER)
    assert refused.kind == kind
    assert refused.reason.startswith(reason)


def test_a_conversation_of_which_nothing_is_learnt_is_refused(write_rows: WriteRows) -> None:
    assert one(write_rows, USER, ANSWER | {"weight": 0}).kind == "nothing to learn"
    silent = ANSWER | {"content": " \n"}
    assert one(write_rows, USER, silent).kind == "empty answer"
    assert one(write_rows, USER, silent, USER, ANSWER | {"weight": 0}).kind == "empty answer"
    assert one(write_rows, USER, silent, USER, ANSWER)["messages"][1] == silent


@pytest.mark.parametrize(
    "tools",
    [
        [TOOL],
        [{"name": "weather"}],
        [{"type": "function", "function": {"name": "weather", "parameters": None}}],
        '[{"name": "weather"}]',
        {"name": "weather"},
    ],
)
def test_tools_in_every_form_are_one(write_rows: WriteRows, tools: Any) -> None:
    assert one(write_rows, USER, ANSWER, tools=tools)["tools"] == [TOOL]
    assert one(write_rows, USER, ANSWER, functions=tools)["tools"] == [TOOL]


@pytest.mark.parametrize("tools", [None, [], "", " "])
def test_no_tools_are_no_key(write_rows: WriteRows, tools: Any) -> None:
    assert one(write_rows, USER, ANSWER, tools=tools) == {"messages": [USER, ANSWER]}


@pytest.mark.parametrize("tools", [3, ["x"], [{}], [{"type": "retrieval", "function": {}}], "{"])
def test_what_is_no_tool_is_refused(write_rows: WriteRows, tools: Any) -> None:
    assert one(write_rows, USER, ANSWER, tools=tools).kind in ("tools", "not JSON")


def test_the_digest_is_of_what_is_said_and_not_of_how_it_was_written(
    write_rows: WriteRows,
) -> None:
    plain = one(write_rows, USER, ANSWER)
    other = one(write_rows, {"content": "Weather?", "role": "user"}, ANSWER | {"name": None})
    assert row_digest(plain) == row_digest(other)
    assert row_digest(plain) != row_digest(one(write_rows, USER, ANSWER | {"weight": 1}))
    assert len(row_digest(plain)) == 16
