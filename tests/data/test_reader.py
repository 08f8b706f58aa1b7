from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.data import SourceFile, expand, iter_messages, open_rows, to_line
from phoundry.errors import InvalidInput, NotFound
from tests.data.chats import steady
from tests.data.written import CHAT_FORMATS, CONTAINERS, as_bytes, as_format, packed, read

QA = {"q": "Who?", "a": "I."}
CHAT = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]


def write(tmp_path: Path, name: str, content: bytes | str | list[Any]) -> Path:
    path = tmp_path / name
    if isinstance(content, list):
        content = as_bytes("jsonl", content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Parquet packs its own pages.
WRITTEN = [
    (container, compression)
    for container in CONTAINERS
    for compression in ([""] if container == "parquet" else ["", "gz", "zst"])
]


@pytest.mark.parametrize(("container", "compression"), WRITTEN)
@pytest.mark.parametrize("format", CHAT_FORMATS)
def test_every_format_in_every_container(
    tmp_path: Path, format: str, container: str, compression: str
) -> None:
    texts = [(f'Q{i}: vem\n"är" du, 😀?', f"A{i};\tjag") for i in range(70)]
    rows = [as_format(format, *text) for text in texts]
    path = write(tmp_path, f"faq.{container}", packed(compression, as_bytes(container, rows)))
    reader, accepted, refused = read(path)
    assert (reader.format, reader.container, reader.type) == (format, container, "chat")
    assert refused == []
    assert accepted == [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in texts
    ]
    assert reader.notices == []


filled = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip)
some_rows = st.lists(st.tuples(filled, filled) | st.sampled_from([None, "bad"]), max_size=8)


@steady
@given(some_rows, st.sampled_from(CHAT_FORMATS), st.sampled_from(CONTAINERS))
def test_no_row_is_ever_lost(tmp_path: Path, pairs: list[Any], format: str, container: str) -> None:
    """Each row is given back as it was or refused, and nothing else comes."""
    rows = [as_format(format, "Who?", "I.")]
    for pair in pairs:
        row = as_format(format, *(pair if isinstance(pair, tuple) else ("Who?", "I.")))
        if pair is None:
            row[list(row)[-1]] = None
        elif pair == "bad":
            row[list(row)[-1]] = [] if format in ("messages", "sharegpt") else " "
        rows.append(row)
    path = write(tmp_path, f"rows.{container}", as_bytes(container, rows))
    _, accepted, refused = read(path)
    good = [pair for pair in [("Who?", "I."), *pairs] if isinstance(pair, tuple)]
    assert len(accepted) + len(refused) == len(rows)
    assert accepted == [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in good
    ]
    canonical = write(tmp_path, "canonical.jsonl", b"".join(map(to_line, accepted)))
    assert list(iter_messages(canonical)) == accepted


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "messages",
                    "role",
                    "content",
                    "from",
                    "value",
                    "tool_calls",
                    "weight",
                    "prompt",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
columns = st.sampled_from(
    [
        *("messages", "conversations", "q", "a", "prompt", "completion", "instruction", "output"),
        *("chosen", "rejected", "tools", "system", "input", "history", "functions"),
    ]
)


@steady
@given(st.lists(st.dictionaries(columns, json_values, max_size=5), min_size=1, max_size=5))
def test_rows_of_any_shape_are_told_or_read(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = write(tmp_path, "rows.jsonl", rows)
    try:
        reader, accepted, refused = read(path)
    except InvalidInput as error:
        assert "no columns of" in error.message
        return
    assert len(accepted) + len(refused) == len(rows)
    for row in accepted:
        assert json.loads(to_line(row)) == row
        again = open_rows([SourceFile(write(tmp_path, "again.jsonl", to_line(row)), "again")])
        assert again.type == reader.type
        assert list(again) == [row]


def test_ultrachat_is_messages(tmp_path: Path) -> None:
    row = {"prompt": "Who?", "prompt_id": "f0e37e9f", "messages": CHAT}
    reader, accepted, _ = read(write(tmp_path, "train.jsonl", [row, row]))
    assert (reader.format, reader.mapping, reader.notices) == (
        "messages",
        {"messages": "messages"},
        [],
    )
    assert accepted == [{"messages": CHAT}] * 2


@pytest.mark.parametrize(
    ("row", "format", "mapping"),
    [
        ({"Question": "x", "Answer": "y"}, "question-answer", ("Question", "Answer")),
        ({"query": "x", "response": "y"}, "question-answer", ("query", "response")),
        ({"prompt": "x", "response": "y"}, "question-answer", ("prompt", "response")),
        ({"input": "x", "output": "y"}, "question-answer", ("input", "output")),
        ({"instruction": "x", "response": "y"}, "question-answer", ("instruction", "response")),
        ({"prompt": "x", "completion": "y"}, "prompt-completion", ("prompt", "completion")),
    ],
)
def test_columns_under_their_usual_names(
    tmp_path: Path, row: dict[str, str], format: str, mapping: tuple[str, str]
) -> None:
    reader, accepted, _ = read(write(tmp_path, "qa.jsonl", [row]))
    assert reader.format == format
    assert reader.mapping == {"question": mapping[0], "answer": mapping[1]}
    assert [m["content"] for m in accepted[0]["messages"]] == ["x", "y"]  # type: ignore[typeddict-item]


def test_two_formats_in_one_row_are_said(tmp_path: Path) -> None:
    row = {"messages": CHAT, "instruction": "x", "output": "y"}
    path = write(tmp_path, "both.jsonl", [row])
    reader, accepted, _ = read(path)
    assert reader.format == "messages"
    assert accepted == [{"messages": CHAT}]
    (notice,) = reader.notices
    assert "also those of alpaca; read as messages. --format alpaca" in notice
    reader, accepted, _ = read(path, format="alpaca")
    assert accepted[0]["messages"][0]["content"] == "x"  # type: ignore[typeddict-item]
    assert reader.notices == []


def test_the_format_of_most_rows_decides_and_the_others_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "mixed.jsonl", [QA, {"messages": CHAT}, {"messages": CHAT}])
    reader, accepted, refused = read(path)
    assert (reader.format, len(accepted)) == ("messages", 2)
    assert [(row.where, row.kind) for row in refused] == [("mixed.jsonl:1", "no messages")]


def test_columns_that_do_not_map_are_named_with_the_mapping_to_write(tmp_path: Path) -> None:
    path = write(tmp_path, "odd.csv", "fråga,svar text\nVem?,Jag.\n")
    with pytest.raises(InvalidInput) as caught:
        read(path)
    text = str(caught.value)
    assert "odd.csv: no columns of a conversation were found among fråga, svar text." in text
    assert "--map question=fråga --map 'answer=svar text'" in text or "--map 'question" in text
    reader, accepted, _ = read(path, mapping={"question": "fråga", "answer": "svar text"})
    assert reader.mapping == {"question": "fråga", "answer": "svar text"}
    assert [m["content"] for m in accepted[0]["messages"]] == ["Vem?", "Jag."]  # type: ignore[typeddict-item]


def test_the_mapping_to_write_takes_what_was_named_and_columns_of_words(tmp_path: Path) -> None:
    path = write(tmp_path, "odd.csv", "id,asked,told\n1,Vem?,Jag.\n2,Var?,Här.\n")
    with pytest.raises(InvalidInput, match="--map question=asked --map answer=told"):
        read(path)
    with pytest.raises(InvalidInput, match="no column of the part question was found") as caught:
        read(path, mapping={"answer": "told"})
    assert "--map question=asked --map answer=told" in str(caught.value)


def test_one_named_column_is_enough_where_the_other_has_a_usual_name(tmp_path: Path) -> None:
    path = write(tmp_path, "odd.jsonl", [{"topic": "t", "answer": "y", "question": "x"}])
    _, accepted, _ = read(path, mapping={"question": "topic"})
    assert [m["content"] for m in accepted[0]["messages"]] == ["t", "y"]  # type: ignore[typeddict-item]


def test_every_wrong_name_of_a_mapping_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "faq.jsonl", [QA])
    with pytest.raises(InvalidInput) as caught:
        read(path, mapping={"question": "qq", "anser": "a"})
    assert [fault.reason for fault in caught.value.faults] == [
        "faq.jsonl has no column 'qq'; is 'q' meant?",
        "there is no part 'anser'; is 'answer' meant?",
    ]


def test_a_named_format_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no columns of the format sharegpt were found among q"):
        read(write(tmp_path, "faq.jsonl", [QA]), format="sharegpt")


def test_files_of_different_containers_or_formats_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", [QA])
    write(tmp_path, "b.jsonl", [{"messages": CHAT}])
    with pytest.raises(InvalidInput) as caught:
        open_rows(expand(str(tmp_path)))
    assert "different formats: 1 × question-answer, 1 × messages" in caught.value.message
    assert [str(fault) for fault in caught.value.faults] == [
        "a.jsonl: question-answer",
        "b.jsonl: messages",
    ]
    write(tmp_path, "b.jsonl", "q,a\nWho?,I.\n")
    with pytest.raises(InvalidInput, match="different containers: 1 × jsonl, 1 × csv"):
        open_rows([SourceFile(tmp_path / "a.jsonl", "a"), SourceFile(tmp_path / "b.jsonl", "b")])


def test_files_that_name_their_columns_differently_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", [QA])
    write(tmp_path, "b.jsonl", [{"question": "x", "answer": "y"}])
    with pytest.raises(InvalidInput) as caught:
        open_rows(expand(str(tmp_path)))
    assert "question is the column 'question', and 'q' in a.jsonl" in str(caught.value)


def test_several_files_are_read_in_order_as_one(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write(tmp_path, f"{name}.jsonl", [{"q": name, "a": "x"}, {"q": name}])
    everything = list(open_rows(expand(str(tmp_path))))
    assert [type(row).__name__ for row in everything] == ["dict", "RefusedRow"] * 2
    assert [row.where for row in everything[1::2]] == ["a.jsonl:2", "b.jsonl:2"]  # type: ignore[union-attr]


def test_reading_twice_gives_the_same_and_counts_once(tmp_path: Path) -> None:
    reader = open_rows([SourceFile(write(tmp_path, "n.jsonl", [{"q": 1, "a": "x"}] * 3), "n")])
    assert list(reader) == list(reader)
    assert reader.notices == ["3 rows: a number was taken as text."]


def test_nothing_readable_is_every_row_refused(tmp_path: Path) -> None:
    reader, accepted, refused = read(write(tmp_path, "x.jsonl", b"{\n{]\n[1]\n"))
    assert (reader.format, accepted) == ("messages", [])
    assert [row.kind for row in refused] == ["not JSON", "not JSON", "not an object"]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read(tmp_path / "none.jsonl")


def test_no_more_than_one_row_is_in_memory(tmp_path: Path) -> None:
    row = as_format("sharegpt", "q" * 50_000, "a" * 50_000)
    path = write(tmp_path, "long.json", as_bytes("json", [row] * 300))  # 30 MB
    reader = open_rows([SourceFile(path, "long.json")])
    tracemalloc.start()
    assert sum(1 for _ in reader) == 300
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
