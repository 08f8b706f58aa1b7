from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.data import ChatTokenizer
from phoundry.data.tokens import prepare
from phoundry.errors import InvalidInput, NotFound
from phoundry.services import data_tokens
from phoundry.services.context import Context
from phoundry.services.data_tokens import buckets, token_texts
from phoundry.specs.data import Loss, TokenReport
from phoundry.specs.finetune import Truncation
from phoundry.store.tables import ModelRow
from tests.services.fake_workers import FakeWorkers
from tests.support.assets import make_asset
from tests.support.tiny_tokenizer import make_tiny_tokenizer

CONTEXT_LENGTH = 512


@pytest.fixture
def model(context: Context, tmp_path: Path) -> str:
    """A registered model of which only the tokenizer is there: nothing else is needed."""
    folder = tmp_path / "tiny"
    make_tiny_tokenizer(folder, style="chatml")
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": CONTEXT_LENGTH}))
    with context.begin("models/write") as session:
        row = ModelRow(
            workspace="default",
            name="tiny",
            version=1,
            status="Ready",
            checkpoint_dir=str(folder),
        )
        session.add(row)
    return "tiny:1"


def report(context: Context, model: str, **options: Any) -> TokenReport:
    settings: dict[str, Any] = {"part": "train", "limit": 2, **options}
    return data_tokens.report(context, "faq", model, **settings)


def test_what_is_learnt_is_the_answer_and_its_end(
    context: Context, chats: bytes, model: str
) -> None:
    make_asset(context, chats, test_size=0)
    found = report(context, model)
    assert found.ready
    assert (found.rows, found.limit, found.limit_of) == (10, CONTEXT_LENGTH, "the model's context")
    first = found.examples[0]
    learnt = "".join(token.text for token in first if token.learnt)
    assert learnt == "It is number 0.<|im_end|>"
    whole = "".join(token.text for token in first)
    assert "What is 0?" in whole
    assert found.longest >= found.p95 >= found.p50 > 0
    assert sum(bucket.rows for bucket in found.buckets) == 10
    assert 0 < found.learnt < found.tokens
    both = report(context, model, part="all", limit=0)
    assert (both.rows, both.examples) == (10, [])


def test_rows_that_are_too_long_are_counted_with_their_true_length(
    context: Context, model: str
) -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c " * 300), ("assistant", "d")]
    long = [{"role": role, "content": text} for role, text in turns]
    rows = [{"messages": long[:2]}, {"messages": long}, {"messages": long[2:]}]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    make_asset(context, content, test_size=0)
    found = report(context, model, max_tokens=100)
    assert (found.limit, found.limit_of) == (100, "max_seq_length")
    assert (found.rows, found.too_long, found.shortened, found.dropped) == (3, 2, 1, 1)
    assert found.longest > 300
    assert report(context, model, max_tokens=10**6).limit == CONTEXT_LENGTH


@pytest.mark.parametrize("limit", [12, 40, 100, 300])
def test_what_each_policy_costs_is_what_training_counts(
    context: Context, model: str, tmp_path: Path, limit: int
) -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c " * 200), ("assistant", "d " * 99)]
    long = [{"role": role, "content": text} for role, text in turns]
    rows = [{"messages": each} for each in (long[:2], long, long[2:], long[:3])]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    make_asset(context, content, test_size=0)
    (tmp_path / "rows.jsonl").write_bytes(content)
    found = report(context, model, max_tokens=limit)

    def made(truncation: Truncation) -> Loss:
        cache, folder = tmp_path / "cache", tmp_path / "tiny"
        path = tmp_path / "rows.jsonl"
        each = prepare(path, folder, cache, max_tokens=limit, truncation=truncation)
        return Loss(shortened=each.truncated, dropped=each.dropped, cut=each.cut)

    assert found.losses["drop_turns"] == made("drop_turns")
    assert found.losses["truncate"] == made("truncate")
    with pytest.raises(InvalidInput) as refused:
        made("error")
    assert found.losses["error"] == Loss(refused=refused.value.total)
    assert report(context, model).losses == {}


def test_a_model_that_is_not_here_is_fetched_only_if_asked(
    context: Context, chats: bytes, fleet: FakeWorkers
) -> None:
    make_asset(context, chats)
    name = "smollm2-135m-instruct"
    assert not report(context, name).ready
    assert fleet.starts == []
    assert not report(context, name, fetch=True, retry=True).ready
    assert [start.module for start in fleet.starts] == ["phoundry.models.materialize"]
    with pytest.raises(NotFound, match="smollm2"):
        report(context, "smollm2-135m-instructt")


@given(st.text(max_size=40))
def test_the_texts_of_tokens_are_the_text(text: str) -> None:
    tokenizer = tiny()
    ids = tokenizer.encode(text)
    texts = token_texts(ids, tokenizer)
    assert len(texts) == len(ids)
    assert "".join(texts) == tokenizer.decode(ids, skip_special=False)


_made: list[ChatTokenizer] = []


def tiny() -> ChatTokenizer:
    if not _made:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            make_tiny_tokenizer(Path(folder))
            _made.append(ChatTokenizer.load(Path(folder)))
    return _made[0]


class Metaspace:
    """A decoder that takes the space off the beginning, as Llama's does."""

    words = ("▁a", "b", "▁c")

    def decode(self, ids: list[int], skip_special: bool = True) -> str:
        return "".join(self.words[i] for i in ids).replace("▁", " ").removeprefix(" ")


def test_a_space_at_the_beginning_of_a_token_stays() -> None:
    assert token_texts([0, 1, 2, 2], Metaspace()) == ["a", "b", " c", " c"]


@given(st.lists(st.integers(1, 300_000), min_size=1, max_size=200))
def test_every_row_is_in_one_bucket(lengths: list[int]) -> None:
    found = buckets(lengths)
    assert sum(bucket.rows for bucket in found) == len(lengths)
    edges = [bucket.tokens for bucket in found]
    assert edges == sorted(set(edges))
    assert len(found) <= data_tokens.BUCKETS + 1
    low = 0
    for bucket in found:
        assert bucket.rows == sum(low < length <= bucket.tokens for length in lengths)
        low = bucket.tokens
