"""Rows of a data asset as columns of a batch run."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from phoundry.client.data import Data
from phoundry.client.flow_data import data_of, with_columns
from phoundry.errors import NotFound


def turns(*texts: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]


def test_a_conversation_has_its_last_question_as_a_column() -> None:
    row = with_columns({"messages": turns("q1", "a1", "q2", "a2")})
    assert (row["question"], row["answer"]) == ("q2", "a2")
    assert row["chat_history"] == [{"inputs": {"question": "q1"}, "outputs": {"answer": "a1"}}]
    assert with_columns({"messages": turns("only")})["answer"] is None
    pair = {"prompt": turns("q"), "chosen": [{"role": "assistant", "content": "good"}]}
    assert (with_columns(pair)["question"], with_columns(pair)["answer"]) == ("q", "good")
    assert with_columns({"messages": []}) == {"messages": []}


class Asset:
    name, version = "faq", "2"


class Assets:
    """`client.data` with one asset, whose export comes in pieces that end anywhere."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.text = "".join(json.dumps(row) + "\n" for row in rows).encode()

    def show(self, reference: str) -> Asset:
        if reference not in ("faq", "faq:2", "azureml:faq:2"):
            raise NotFound("no such asset")
        return Asset()

    @contextmanager
    def stream(self, reference: str, *, split: str) -> Generator[Iterator[bytes]]:
        assert (reference, split) == ("faq:2", "test")
        yield (self.text[start : start + 7] for start in range(0, len(self.text), 7))


def test_an_asset_becomes_a_file_of_the_run(tmp_path: Path) -> None:
    assets = cast(Data, Assets([{"messages": turns("q", "a")}, {"messages": turns("ü", "b")}]))
    name, path = data_of(assets, "azureml:faq:2", "test", tmp_path)
    assert name == "faq:2"
    assert path is not None
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["question"] for row in found] == ["q", "ü"]


def test_a_file_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets = cast(Data, Assets([]))
    monkeypatch.chdir(tmp_path)
    Path("faq").write_text("")
    assert data_of(assets, "faq", "all", tmp_path) == (str(tmp_path / "faq"), tmp_path / "faq")
    for gone in ("gone.jsonl", "a/b", "gone"):
        with pytest.raises(NotFound):
            data_of(assets, gone, "all", tmp_path)
