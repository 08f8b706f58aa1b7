from __future__ import annotations

import os
from pathlib import Path

import pytest

from phoundry.data import expand, parse_mapping
from phoundry.data.mapping import settle
from phoundry.errors import InvalidInput, NotFound


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


def names(source: Path | str) -> list[str]:
    return [file.name for file in expand(str(source))]


def test_a_file_is_taken_whatever_its_ending(tmp_path: Path) -> None:
    make(tmp_path, "chats.log")
    (file,) = expand(str(tmp_path / "chats.log"))
    assert (file.path, file.name) == (tmp_path / "chats.log", "chats.log")


def test_a_folder_is_its_data_files_in_order(tmp_path: Path) -> None:
    make(tmp_path, "b.jsonl", "a.json", "sub/c.csv.gz", "sub/D.PARQUET", "e.tsv.zst")
    make(tmp_path, "README.md", ".hidden.jsonl", ".git/x.json", "dataset_info.json", "state.json")
    assert names(tmp_path) == ["a.json", "b.jsonl", "e.tsv.zst", "sub/D.PARQUET", "sub/c.csv.gz"]


def test_a_glob_is_what_it_finds(tmp_path: Path) -> None:
    make(tmp_path, "x/b.jsonl", "y/a.jsonl", "y/a.csv")
    assert names(tmp_path / "*" / "*.jsonl") == ["x/b.jsonl", "y/a.jsonl"]
    assert names(tmp_path / "**" / "a.*") == ["y/a.csv", "y/a.jsonl"]


def test_a_name_with_the_marks_of_a_glob_is_itself_first(tmp_path: Path) -> None:
    make(tmp_path, "a[1].jsonl")
    assert names(tmp_path / "a[1].jsonl") == ["a[1].jsonl"]


def test_what_is_not_there_is_told_with_what_is_near(tmp_path: Path) -> None:
    make(tmp_path, "chats.jsonl")
    with pytest.raises(
        NotFound, match=r"There is no file .*chat\.jsonl\. Did you mean chats\.jsonl"
    ):
        expand(str(tmp_path / "chat.jsonl"))
    with pytest.raises(NotFound, match=r"No file matches .*\*\.csv\. Quote a glob"):
        expand(str(tmp_path / "*.csv"))
    with pytest.raises(NotFound, match="Name a file, a folder or a glob"):
        expand(str(tmp_path / "none" / "none"))


def test_a_folder_without_data_says_what_it_has(tmp_path: Path) -> None:
    make(tmp_path, "README.md")
    with pytest.raises(InvalidInput, match=r"holds no data file; there is README\.md"):
        expand(str(tmp_path))


def test_a_pipe_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="is neither a file nor a folder"):
        expand(str(tmp_path / "pipe"))


def test_a_part_may_stand_on_either_side() -> None:
    assert parse_mapping(["question=prompt", "reply=answer", "input = more=text"]) == {
        "question": "prompt",
        "answer": "reply",
        "input": "more=text",
    }


def test_all_that_is_no_mapping_is_told() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_mapping(["question", "anser=a", "answer=", "answer=x", "answer=y"])
    assert [str(fault) for fault in caught.value.faults] == [
        "--map question: no PART=COLUMN",
        "--map anser=a: no PART=COLUMN; is answer meant?",
        "--map answer=: no PART=COLUMN",
        "--map answer=y: 'answer' has the column 'x'",
    ]


def test_of_two_parts_the_one_that_is_a_column_is_the_column() -> None:
    mapping = parse_mapping(["input=question"])
    assert settle(mapping, ["question", "answer"], "x") == {"input": "question"}
    assert settle(mapping, ["input", "answer"], "x") == {"question": "input"}
    assert settle({"prompt": "question"}, ["prompt"], "x") == {"question": "prompt"}


@pytest.mark.parametrize("address", ["https://example.com/faq.jsonl", "s3://box/faq*.jsonl"])
def test_an_address_is_not_taken_for_a_missing_file(address: str) -> None:
    with pytest.raises(InvalidInput, match="is an address, and no address is fetched") as caught:
        expand(address)
    assert address in caught.value.message
    assert "Download it" in str(caught.value.remedy)
