"""What a batch may be asked: OpenAI's lines and rows of data; every bad line is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.errors import InvalidInput
from phoundry.serving.asgi import BODY_LIMIT
from phoundry.serving.batch.requests import Bad, Request, check, read

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]


def line(custom_id: object = "a", **changes: Any) -> dict[str, Any]:
    url = "/v1/chat/completions"
    body = {"messages": HELLO}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body} | changes


def write(path: Path, *values: Any) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def test_openais_lines_are_asked_as_they_stand(tmp_path: Path) -> None:
    body = {"messages": HELLO, "temperature": 0.5, "model": "gpt-4o-mini"}
    path = write(tmp_path / "a.jsonl", line("one", body=body), line("two"))
    first, second = read(path, "a.jsonl")
    assert first == Request(0, "one", "/v1/chat/completions", body)
    assert isinstance(second, Request)
    assert (second.index, second.custom_id) == (1, "two")


def test_rows_of_data_are_asked_without_their_last_answer(tmp_path: Path) -> None:
    turns = [*HELLO, {"role": "assistant", "content": "Hi", "weight": 1}]
    longer = [*turns, {"role": "user", "content": "More"}, turns[1]]
    tools = [{"type": "function", "function": {"name": "look"}}]
    pair = {"prompt": HELLO, "chosen": [turns[1]], "rejected": [turns[1]]}
    path = write(
        tmp_path / "a.jsonl", {"messages": turns}, {"messages": longer, "tools": tools}, pair
    )
    one, two, three = (each.body for each in read(path, "a.jsonl") if isinstance(each, Request))
    assert one == {"messages": HELLO}
    assert [turn["content"] for turn in two["messages"]] == ["Hello", "Hi", "More"]
    assert two["tools"] == tools
    assert three == {"messages": HELLO}
    assert [each.custom_id for each in read(path, "a") if isinstance(each, Request)] == [
        "row-1",
        "row-2",
        "row-3",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "must be an object"),
        ('{"text": "a"}', "neither"),
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "answers alone"),
        ('{"messages": ["a"]}', "every message"),
        (json.dumps(line("")), "custom_id must be"),
        (json.dumps(line(7)), "custom_id must be"),
        (json.dumps(line("x" * 513)), "custom_id must be"),
        (json.dumps(line(method="GET")), "method is 'GET'"),
        (json.dumps(line(url="/v1/images")), "url is '/v1/images'"),
        (json.dumps(line(body="a")), "body must be"),
        (json.dumps(line(body={})), "messages is missing"),
        (json.dumps(line(body={"messages": HELLO, "stream": True})), "stream"),
        (json.dumps(line(priority=1)), "unknown key 'priority'"),
        ("[" * 20_000, "nested too deeply"),
        (" " * BODY_LIMIT + "{}", "more than"),
        ('{"messages": "\udcff"}', "not UTF-8"),
    ],
)
def test_a_bad_line_is_told_with_its_number(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "asked.jsonl"
    good = json.dumps(line("good"))
    path.write_bytes(f"{good}\n\n{text}\n".encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidInput, match="1 of 2 rows") as raised:
        check(path, "asked.jsonl")
    (fault,) = raised.value.faults
    assert fault.where == "asked.jsonl:3"
    assert reason in fault.reason
    assert check(path, "asked.jsonl", skip_bad=1) == 2


def test_all_bad_lines_come_at_once_and_ids_are_given_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line("a"), line("a"), line("b"), 5, line("a"))
    with pytest.raises(InvalidInput) as raised:
        check(path, "a.jsonl")
    assert [fault.where for fault in raised.value.faults] == ["a.jsonl:2", "a.jsonl:4", "a.jsonl:5"]
    assert "--skip-bad 3" in str(raised.value)
    with pytest.raises(InvalidInput, match="empty"):
        check(write(tmp_path / "b.jsonl"), "b.jsonl")


def test_a_mark_at_the_beginning_and_a_missing_line_end_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(line()).encode())
    assert check(path, "a.jsonl") == 1


@given(st.lists(st.binary(max_size=60).filter(lambda text: b"\n" not in text), max_size=8))
def test_any_bytes_are_requests_or_bad_lines_in_order(lines: list[bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(b"\n".join(lines))
        found = list(read(path, "a"))
    assert [each.index for each in found] == list(range(len(found)))
    assert all(isinstance(each, Bad) for each in found)
