"""What each format's own rows become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phoundry.data import to_jsonl
from tests.data.conftest import WriteRows
from tests.data.written import read

Turns = list[tuple[str, str]]


def turns(row: Any, key: str = "messages") -> Turns:
    return [(message["role"], message["content"]) for message in row[key]]


def share(*pairs: tuple[str, Any], **other: Any) -> dict[str, Any]:
    return {"conversations": [{"from": name, "value": text} for name, text in pairs], **other}


CALL = '{"name": "weather", "arguments": {"city": "Lund"}}'
WEATHER = {"name": "weather", "description": "Now", "parameters": {"type": "object"}}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (share(("human", "x"), ("gpt", "y")), [("user", "x"), ("assistant", "y")]),
        (share(("User", "x"), ("chatgpt", "y")), [("user", "x"), ("assistant", "y")]),
        (share(("user", "x"), ("bard", "y")), [("user", "x"), ("assistant", "y")]),
        (
            share(("system", "s"), ("human", "x"), ("bing", "y")),
            [("system", "s"), ("user", "x"), ("assistant", "y")],
        ),
        (
            share(("system", " "), ("human", "x"), ("gpt", "y")),
            [("user", "x"), ("assistant", "y")],
        ),
        (
            share(("human", "x"), ("gpt", "y"), system="s"),
            [("system", "s"), ("user", "x"), ("assistant", "y")],
        ),
    ],
)
def test_sharegpt(write_rows: WriteRows, row: dict[str, Any], expected: Turns) -> None:
    reader, (accepted,), refused = read(write_rows(row))
    assert (turns(accepted), refused, reader.notices) == (expected, [], [])


def test_what_is_put_right_in_sharegpt_is_said(write_rows: WriteRows) -> None:
    path = write_rows(
        share(("gpt", "late"), ("human", "x"), ("gpt", "y")),
        share(("system", "s"), ("gpt", "late"), ("human", "x"), ("human", "z"), ("gpt", "y")),
        share(("human", "x"), ("gpt", "y"), ("gpt", "z"), ("gpt", "w")),
        share(("gpt", "never asked"), ("gpt", "at all")),
    )
    reader, accepted, refused = read(path)
    assert [turns(row) for row in accepted] == [
        [("user", "x"), ("assistant", "y")],
        [("system", "s"), ("user", "x\n\nz"), ("assistant", "y")],
        [("user", "x"), ("assistant", "y\n\nz\n\nw")],
    ]
    assert [row.kind for row in refused] == ["assistant message first"]
    assert reader.notices == [
        "2 rows: the conversation began with an answer to nothing; it was left out.",
        "2 rows: turns of one role that followed each other were joined with an empty line.",
    ]


@pytest.mark.parametrize(
    ("row", "kind", "reason"),
    [
        (share(), "empty conversation", "'conversations' is empty"),
        ({"conversations": None}, "no conversations", "'conversations' is null"),
        ({"conversations": "x"}, "no conversations", "'conversations' is not a list but text"),
        (
            {"conversations": ["x"]},
            "turn not an object",
            "conversations[0] is not an object but text",
        ),
        (
            share(("human", "x"), ("gpt", "\n ")),
            "empty turn",
            'conversations[1] (from "gpt") has no text',
        ),
        (
            share(("alien", "x"), ("gpt", "y")),
            "unknown role",
            'conversations[0] is from "alien"; known are human, gpt',
        ),
        (
            share(("human", None), ("gpt", "y")),
            "value not text",
            "conversations[0]: 'value' is not text but null",
        ),
        ({"conversations": [{"value": "x"}]}, "unknown role", "conversations[0] has no 'from'"),
        ({"conversations": [{"from": "gpt"}]}, "value not text", "conversations[0] has no 'value'"),
        (share(("human", "x")), "no assistant message", "no assistant message"),
        (share(("human", "x"), ("function_call", "{")), "tool calls", "conversations[1]: not JSON"),
        (share(("human", "x"), ("function_call", "[]")), "tool calls", "conversations[1] calls no"),
    ],
)
def test_sharegpt_that_cannot_be_used(
    write_rows: WriteRows, row: dict[str, Any], kind: str, reason: str
) -> None:
    _, accepted, (refused,) = read(write_rows(share(("human", "x"), ("gpt", "y")), row))
    assert len(accepted) == 1
    assert (refused.line, refused.kind) == (2, kind)
    assert refused.reason.startswith(reason)


def test_sharegpt_with_tools_is_openais_form(write_rows: WriteRows) -> None:
    row = share(
        ("human", "Weather?"),
        ("gpt", "I look."),
        ("function_call", CALL),
        ("observation", "sun"),
        ("gpt", "Sun."),
        tools='[{"name": "weather", "description": "Now", "parameters": {"type": "object"}}]',
    )
    _, (accepted,), _ = read(write_rows(row))
    assert accepted == {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Lund"}'},
                    }
                ],
            },
            {"role": "tool", "content": "sun", "tool_call_id": "call_1"},
            {"role": "assistant", "content": "Sun."},
        ],
        "tools": [{"type": "function", "function": WEATHER}],
    }


def test_alpaca(write_rows: WriteRows) -> None:
    path = write_rows(
        {"instruction": "Add", "input": "", "output": "1"},
        {"instruction": "Add", "input": "1+1", "output": "2", "system": "Be brief."},
        {"instruction": "And?", "output": "3", "history": [["Hi", "Hello"]]},
        {"instruction": "Add", "input": "1", "output": ""},
        {"instruction": " ", "output": "x"},
        {"instruction": "And?", "output": "3", "history": ["Hi"]},
    )
    reader, accepted, refused = read(path)
    assert reader.format == "alpaca"
    assert [turns(row) for row in accepted] == [
        [("user", "Add"), ("assistant", "1")],
        [("system", "Be brief."), ("user", "Add\n1+1"), ("assistant", "2")],
        [("user", "Hi"), ("assistant", "Hello"), ("user", "And?"), ("assistant", "3")],
    ]
    assert [row.kind for row in refused] == ["empty answer", "empty question", "bad history"]


def test_dollys_context_is_the_input(write_rows: WriteRows) -> None:
    row = {"instruction": "Who?", "context": "Ann did.", "response": "Ann", "category": "qa"}
    reader, (accepted,), _ = read(write_rows(row))
    assert reader.mapping == {"question": "instruction", "answer": "response", "input": "context"}
    assert turns(accepted) == [("user", "Who?\nAnn did."), ("assistant", "Ann")]


def test_a_conversational_prompt_is_shown_and_only_the_completion_learnt(
    write_rows: WriteRows,
) -> None:
    prompt = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Who?"},
    ]
    row = {"prompt": prompt, "completion": [{"role": "assistant", "content": "I."}]}
    reader, (accepted,), _ = read(write_rows(row))
    messages: Any = accepted["messages"]  # type: ignore[typeddict-item]
    assert [message.get("weight") for message in messages] == [None, 0, None, None]
    assert reader.notices == [
        "1 row: answers within the prompt are shown to the model and not learnt."
    ]


def test_an_answer_that_is_json_stays_text(write_rows: WriteRows) -> None:
    for answer in ('{"name": "Ann"}', '[{"x": 1}]', "[INST] {", '{"role'):
        _, (accepted,), _ = read(write_rows({"question": "[Who]?", "answer": answer}))
        assert turns(accepted) == [("user", "[Who]?"), ("assistant", answer)]
        row = {"prompt": "[x", "chosen": answer, "rejected": "no"}
        _, (accepted,), _ = read(write_rows(row))
        assert turns(accepted, "chosen") == [("assistant", answer)]


USER, GOOD, BAD = (
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "I."},
    {"role": "assistant", "content": "You."},
)
PAIR = {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}


@pytest.mark.parametrize(
    "row",
    [
        PAIR,
        {"prompt": "Who?", "chosen": "I.", "rejected": "You."},
        {"question": "Who?", "chosen": "I.", "rejected": "You."},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "Who?", "chosen": [USER, GOOD], "rejected": [USER, BAD], "score": 3},
        {"prompt": "Who?", "chosen": GOOD, "rejected": BAD},
        {
            "input": {"messages": [USER], "tools": [], "parallel_tool_calls": True},
            "preferred_output": [GOOD],
            "non_preferred_output": [BAD],
        },
        share(
            ("human", "Who?"),
            chosen={"from": "gpt", "value": "I."},
            rejected={"from": "gpt", "value": "You."},
        ),
    ],
)
def test_preference_pairs_of_every_kind_are_one(write_rows: WriteRows, row: dict[str, Any]) -> None:
    reader, accepted, refused = read(write_rows(row))
    assert (reader.format, reader.type, refused) == ("preference", "preference", [])
    assert accepted == [PAIR]
    again = read(write_rows(to_jsonl(accepted).rstrip()))[1]
    assert again == accepted


def test_an_instruction_with_input_and_a_system_turn_before_a_preference(
    write_rows: WriteRows,
) -> None:
    row = {"instruction": "Add", "input": "1+1", "chosen": "2", "rejected": "3", "system": "Be."}
    _, (accepted,), _ = read(write_rows(row))
    assert turns(accepted, "prompt") == [("system", "Be."), ("user", "Add\n1+1")]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"rejected": [GOOD]}, "no preference"),
        ({"rejected": None}, "no rejected"),
        ({"chosen": ""}, "empty answer"),
        ({"prompt": ""}, "no prompt"),
        ({"prompt": "  "}, "empty prompt"),
        ({"prompt": "Why?", "chosen": [USER, GOOD], "rejected": [USER, BAD]}, "two prompts"),
        ({"chosen": [USER, GOOD], "rejected": [BAD]}, "no prompt"),
        ({"chosen": [GOOD, USER]}, "no answer"),
    ],
)
def test_pairs_that_show_no_preference_are_refused(
    write_rows: WriteRows, change: dict[str, Any], kind: str
) -> None:
    _, accepted, (refused,) = read(write_rows(PAIR, PAIR | change))
    assert (accepted, refused.kind) == ([PAIR], kind)


def test_messages_in_cells_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "chats.csv"
    cell = json.dumps([USER, GOOD]).replace('"', '""')
    path.write_text(f'id,messages\n1,"{cell}"\n2,none\n')
    reader, accepted, refused = read(path)
    assert reader.format == "messages"
    assert accepted == [{"messages": [USER, GOOD]}]
    assert [(row.line, row.reason) for row in refused] == [(3, "'messages' is not a list but text")]
