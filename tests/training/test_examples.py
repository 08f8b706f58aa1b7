from __future__ import annotations

import json
from pathlib import Path

import pytest

from phoundry.data import ChatTokenizer
from phoundry.errors import InvalidInput
from phoundry.training.batch import make_row, rows_of_step
from phoundry.training.examples import Sample, read_samples
from tests.support.tiny_tokenizer import make_tiny_tokenizer


def _write(path: Path, conversations: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for texts in conversations:
            roles = ("user", "assistant")
            turns = [{"role": roles[i % 2], "content": t} for i, t in enumerate(texts)]
            file.write(json.dumps({"messages": turns}) + "\n")
    return path


@pytest.fixture
def tokenizer(tmp_path: Path) -> ChatTokenizer:
    make_tiny_tokenizer(tmp_path / "tokenizer", style="chatml")
    return ChatTokenizer.load(tmp_path / "tokenizer")


def test_too_long_conversations_lose_turns_or_go_and_both_are_counted(
    tmp_path: Path, tokenizer: ChatTokenizer
) -> None:
    short, long = "Paris", "Who founded Microsoft? " * 30
    file = _write(
        tmp_path / "chats.jsonl", [[short, short], [short, short, short, long], [long, short]]
    )
    samples = read_samples(file, tokenizer, longest=100)
    assert (len(samples.kept), samples.truncated, samples.dropped) == (2, 1, 1)
    assert samples.kept[0] == samples.kept[1]
    assert max(samples.lengths) <= 100
    whole = read_samples(file, tokenizer, longest=10_000)
    assert (len(whole.kept), whole.truncated, whole.dropped) == (3, 0, 0)


def test_a_file_of_which_nothing_fits_is_refused(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    file = _write(tmp_path / "chats.jsonl", [["Paris", "France"]])
    with pytest.raises(InvalidInput, match="none of 1 conversations fits 3 tokens"):
        read_samples(file, tokenizer, longest=3)


def test_the_fingerprint_follows_tokens_masks_and_order() -> None:
    from phoundry.training.examples import Samples

    a, b = Sample([1, 2], [False, True]), Sample([3, 4], [False, True])
    prints = [
        Samples(kept, 0, 0).fingerprint()
        for kept in ([a, b], [b, a], [a, Sample([3, 4], [True, True])], [a], [a, b])
    ]
    assert len(set(prints)) == 4
    assert prints[0] == prints[4]


def test_a_row_is_its_conversations_end_to_end() -> None:
    row = make_row([Sample([7, 8, 9], [False, True, True]), Sample([4, 5, 6], [True, False, True])])
    assert row.token_ids.tolist() == [[7, 8, 9, 4, 5, 6]]
    assert row.position_ids.tolist() == [[0, 1, 2, 0, 1, 2]]
    assert row.segments == (3, 3)
    # Token 8 is predicted from place 0, 9 from 1, 6 from 4. Nothing predicts a first token.
    assert row.places.tolist() == [0, 1, 4]
    assert row.targets.tolist() == [8, 9, 6]


def test_a_step_is_split_into_rows_of_so_many_packs() -> None:
    samples = [Sample([n, n], [False, True]) for n in range(5)]
    rows = rows_of_step([[0, 1], [2], [3, 4]], samples, 2)
    assert [row.token_ids.tolist()[0] for row in rows] == [[0, 0, 1, 1, 2, 2], [3, 3, 4, 4]]
