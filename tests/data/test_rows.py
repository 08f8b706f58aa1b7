from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.data import check_messages, iter_messages, read_messages, refusals
from phoundry.data.containers import records
from phoundry.errors import InvalidInput, NotFound
from tests.data.chats import steady
from tests.data.conftest import WriteRows

USER = {"role": "user", "content": "Who?"}
ANSWER = {"role": "assistant", "content": "Bill Gates."}
GOOD = {"messages": [USER, ANSWER]}


def test_good_rows_come_back_without_their_other_keys(write_rows: WriteRows) -> None:
    row = {"prompt": "Who?", "prompt_id": "1", "messages": [USER, ANSWER], "category": None}
    result = read_messages(write_rows(row, GOOD))
    assert result.rows == [GOOD, GOOD]
    assert (result.refused, result.faults, result.notices) == (0, [], [])


def test_windows_line_ends_blank_lines_and_a_missing_last_line_end(tmp_path: Path) -> None:
    line = json.dumps(GOOD).encode()
    path = tmp_path / "faq.jsonl"
    path.write_bytes(line + b"\r\n\r\n   \n" + line)
    assert read_messages(path).rows == [GOOD, GOOD]


def test_byte_order_mark_is_taken_off_and_said(write_rows: WriteRows) -> None:
    checked = check_messages(write_rows(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()))
    assert checked.rows == [GOOD]
    assert checked.notices == ["faq.jsonl: a byte order mark at the start was taken off."]


def test_a_tool_message_and_a_system_message_are_known(write_rows: WriteRows) -> None:
    system, tool = {"role": "system", "content": ""}, {"role": "tool", "content": "3"}
    row = {"messages": [system, USER, tool, ANSWER]}
    assert read_messages(write_rows(row)).rows == [row]


@pytest.mark.parametrize(
    ("line", "kind", "reason"),
    [
        (b'{"messages": [', "not JSON", "not JSON: Expecting value (column 15)"),
        (b'{"a": NaN}', "not JSON", "not JSON: NaN is no JSON value"),
        (b"[" * 100_000, "not JSON", "JSON that is nested too deeply"),
        (b'{"id": ' + b"1" * 5000 + b"}", "not JSON", "not JSON: Exceeds the limit"),
        (b'{"a": "\xff"}', "not UTF-8", "not UTF-8: byte 0xff (byte 8 of the line)"),
        ([1], "not an object", "not an object but a list"),
        (None, "not an object", "not an object but null"),
        ({}, "no messages", "no 'messages': the object is empty"),
        ({"message": []}, "no messages", "no 'messages'; is \"message\" meant?"),
        ({"q": "Who?", "a": "I"}, "no messages", 'no \'messages\'; it has "q", "a"'),
        ({"messages": []}, "no messages", "'messages' is empty"),
        ({"messages": "hi"}, "no messages", "'messages' is not a list but text"),
        (
            {"messages": [USER, "hi"]},
            "message not an object",
            "messages[1] is not an object but text",
        ),
        ({"messages": [{"content": "x"}, ANSWER]}, "no role", "messages[0] has no 'role'"),
        ({"messages": [{"role": "user"}, ANSWER]}, "no content", "messages[0] has no 'content'"),
        (
            {"messages": [{"role": "bot", "content": "x"}, ANSWER]},
            "unknown role",
            'messages[0] has the role "bot"; known are system, user, assistant, tool',
        ),
        (
            {"messages": [{"role": 3, "content": "x"}, ANSWER]},
            "unknown role",
            "messages[0] has the role 3; known are system, user, assistant, tool",
        ),
        (
            {"messages": [{"role": "user", "content": None}, ANSWER]},
            "content not text",
            "messages[0]: content is not text but null",
        ),
        (
            {"messages": [USER | {"nam": "Ann"}, ANSWER]},
            "unknown message key",
            'messages[0] has the unknown key "nam"',
        ),
        (
            b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
            "not Unicode",
            "messages[0]: content has half a surrogate pair",
        ),
        (
            {"messages": [USER]},
            "no assistant message",
            "no assistant message, so there is nothing to learn",
        ),
        (
            {"messages": [ANSWER, USER, ANSWER]},
            "assistant message first",
            "messages[0] is an assistant message that answers nothing",
        ),
    ],
)
def test_a_bad_row_is_told_with_its_line_and_reason(
    write_rows: WriteRows, line: Any, kind: str, reason: str
) -> None:
    result = read_messages(write_rows(GOOD, b"", line, GOOD))
    assert result.rows == [GOOD, GOOD]
    assert result.counts == {kind: 1}
    (fault,) = result.faults
    assert fault.where == "faq.jsonl:3"
    assert fault.reason.startswith(reason)


def test_all_that_is_wrong_with_a_row_is_told_at_once(write_rows: WriteRows) -> None:
    bad = {"role": "bot", "content": 1, "x": 1}
    (fault,) = read_messages(write_rows({"messages": [bad, {}, "hi"]})).faults
    assert fault.reason == (
        'messages[0] has the unknown key "x"; '
        'messages[0] has the role "bot"; known are system, user, assistant, tool; '
        "messages[0]: content is not text but a number; and 3 more"
    )


def test_every_bad_row_is_counted_and_grouped(write_rows: WriteRows) -> None:
    path = write_rows(GOOD, *[{"messages": [USER]}] * 25, b"{", *[GOOD] * 476)
    with pytest.raises(InvalidInput) as caught:
        check_messages(path)
    error = caught.value
    assert error.message == (
        "faq.jsonl: 26 of 503 rows cannot be used (25 × no assistant message, 1 × not JSON)."
    )
    assert error.total == 26
    assert [fault.where for fault in error.faults] == [f"faq.jsonl:{i}" for i in range(2, 28)]
    assert str(error).count("\n  faq.jsonl:") == 20
    assert "… and 6 more" in str(error)
    assert error.remedy


def test_so_many_faults_are_kept_and_all_are_counted(
    write_rows: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "MAX_FAULTS", 3)
    result = read_messages(write_rows(*[b"{"] * 8))
    assert (result.refused, len(result.faults), result.total) == (8, 3, 8)


def test_a_row_that_is_too_long_is_refused_and_the_next_is_read(
    write_rows: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MAX_ROW_BYTES", len(json.dumps(GOOD)) + 1)
    for length in range(60, 400):
        result = read_messages(write_rows(b"x" * 3 * length, GOOD))
        assert result.rows == [GOOD]
        assert result.counts == {"row too long": 1}


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b" \r\n"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "faq.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"^faq\.jsonl is empty") as caught:
        check_messages(path)
    assert '{"messages": [' in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"), [("[]".encode("utf-16"), "UTF-16"), (b"\x1f\x8b\x08", "gzip")]
)
def test_another_kind_of_file_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "faq.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"upload\.jsonl is {what}, and UTF-8 text is needed"):
        read_messages(path, name="upload.jsonl")


def test_one_json_document_is_not_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "faq.json"
    path.write_text(json.dumps([GOOD], indent=1))
    with pytest.raises(InvalidInput, match="each line must be a JSON object of its own"):
        check_messages(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_messages(tmp_path / "none.jsonl")
    with pytest.raises(InvalidInput, match="is a folder"):
        read_messages(tmp_path)


def test_faults_use_the_name_that_the_user_knows(write_rows: WriteRows) -> None:
    (fault,) = read_messages(write_rows(b"{", name="upload-7f3a"), name="faq.jsonl").faults
    assert fault.where == "faq.jsonl:1"


json_values = st.sampled_from([None, True, 1, 0.5, "x", "é😀", [], [1], {}, {"role": "user"}])
near_messages = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "bot"]) | json_values,
        "content": st.text(max_size=5) | json_values,
    },
)
near_rows = st.fixed_dictionaries({"messages": st.lists(near_messages | json_values, max_size=3)})
lines = st.one_of(
    st.binary(max_size=40).filter(lambda line: b"\n" not in line),
    near_rows.map(lambda row: json.dumps(row).encode()),
    st.just(json.dumps(GOOD).encode()),
    st.sampled_from([b"", b"  ", b"{"]),
)


@steady
@given(st.lists(lines, max_size=12))
def test_every_row_is_either_accepted_or_refused(tmp_path: Path, content: list[bytes]) -> None:
    path = tmp_path / "faq.jsonl"
    path.write_bytes(b"{}\n" + b"\n".join(content))
    result = read_messages(path)
    filled = [i for i, line in enumerate([b"{}", *content], start=1) if line.strip()]
    assert result.total == len(filled)
    refused = {int(fault.where.split(":")[1]) for fault in result.faults}
    assert len(refused) == result.refused == len(result.faults)
    assert refused <= set(filled)
    assert len(list(iter_messages(path))) == result.total
    for row in result.rows:
        assert any(message["role"] == "assistant" for message in row["messages"][1:])
        assert all(isinstance(message["content"], str) for message in row["messages"])
