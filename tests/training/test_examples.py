from __future__ import annotations

import hashlib
import json
from array import array
from pathlib import Path

import pytest

from phoundry.data import ChatTokenizer, check_messages
from phoundry.errors import InvalidInput
from phoundry.specs.finetune import Truncation
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
def checkpoint(tmp_path: Path) -> Path:
    return make_tiny_tokenizer(tmp_path / "checkpoint", style="chatml").folder


def test_too_long_conversations_lose_turns_or_go_and_both_are_counted(
    tmp_path: Path, checkpoint: Path
) -> None:
    short, long = "Paris", "Who founded Microsoft? " * 30
    file = _write(
        tmp_path / "chats.jsonl", [[short, short], [short, short, short, long], [long, short]]
    )
    samples = read_samples(file, checkpoint, longest=100)
    assert (len(samples), samples.truncated, samples.dropped) == (2, 1, 1)
    assert samples[0] == samples[1] == samples[:2][1]
    assert max(samples.lengths) <= 100
    whole = read_samples(file, checkpoint, longest=10_000)
    assert (len(whole), whole.truncated, whole.dropped) == (3, 0, 0)


@pytest.mark.parametrize(
    ("truncation", "lost"),
    [
        ("drop_turns", "1 lose whole trailing turns, 1 are left out (truncation=drop_turns)"),
        ("truncate", "1 lose their end, 1 are left out (truncation=truncate)"),
    ],
)
def test_what_is_lost_is_said_before_the_start(
    tmp_path: Path, checkpoint: Path, truncation: Truncation, lost: str
) -> None:
    short, long = "Paris", "Who founded Microsoft? " * 30
    rows = [[short, short], [short, short, short, long], [long, short]]
    file = _write(tmp_path / "chats.jsonl", rows)
    whole = read_samples(file, checkpoint, longest=10_000)
    samples = read_samples(file, checkpoint, longest=100, truncation=truncation, workers=1)
    assert whole.notices == []
    assert (whole.supervised, samples.supervised) == tuple(
        sum(sum(sample.supervised) for sample in each) for each in (whole, samples)
    )
    assert samples.cut + samples.tokens == whole.tokens
    (said,) = samples.notices
    assert said == (
        f"2 of 3 conversations have more than 100 tokens: {lost}; "
        f"{samples.cut:,} of {whole.tokens:,} tokens are not seen."
    )


def test_rows_without_anything_to_learn_are_refused_by_number(
    tmp_path: Path, checkpoint: Path
) -> None:
    file = _write(tmp_path / "chats.jsonl", [["Who?", "I."], ["Who?", "I."]])
    first, second = file.read_text().splitlines()
    row = json.loads(second)
    row["messages"][1]["weight"] = 0
    file.write_text(f"{first}\n{json.dumps(row)}\n")
    with pytest.raises(InvalidInput, match="nothing to learn") as told:
        read_samples(file, checkpoint, longest=100)
    assert [fault.where for fault in told.value.faults] == ["chats.jsonl:2"]


def test_a_file_of_which_nothing_fits_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    file = _write(tmp_path / "chats.jsonl", [["Paris", "France"]])
    with pytest.raises(InvalidInput, match="none of 1 conversations fits 3 tokens"):
        read_samples(file, checkpoint, longest=3)


def test_samples_are_the_same_with_a_cache_and_without(tmp_path: Path, checkpoint: Path) -> None:
    file = _write(tmp_path / "chats.jsonl", [["Paris", "France"], ["Who?", "I.", "And?", "You."]])
    tokenizer = ChatTokenizer.load(checkpoint)
    rendered = [tokenizer.render_example(row["messages"]) for row in check_messages(file).rows]
    kept = [Sample(example.token_ids, example.loss_mask) for example in rendered]
    alone = read_samples(file, checkpoint, longest=100)
    cached = [
        read_samples(file, checkpoint, longest=100, cache_dir=tmp_path / "cache") for _ in "12"
    ]
    for samples in (alone, *cached):
        assert list(samples) == kept
        assert samples.lengths == [len(sample.token_ids) for sample in kept]
        assert samples.tokens == sum(samples.lengths)
        assert samples.fingerprint() == _fingerprint(kept)


def _fingerprint(samples: list[Sample]) -> str:
    """As checkpoints of earlier versions know their data."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(array("q", sample.token_ids).tobytes())
        digest.update(b"|" + bytes(sample.supervised) + b"\n")
    return digest.hexdigest()


def test_the_fingerprint_follows_tokens_masks_and_order(tmp_path: Path, checkpoint: Path) -> None:
    one, other = ["Who?", "Bill."], ["Who?", "Paul."]
    # The same tokens, one fewer of them learnt.
    two = _write(tmp_path / "a.jsonl", [["Who?", "Bill.", "And?", "Paul."]])
    row = json.loads(two.read_text())
    row["messages"][1]["weight"] = 0
    weighted = tmp_path / "weighted.jsonl"
    weighted.write_text(json.dumps(row) + "\n")
    files = [
        *(_write(tmp_path / f"{n}.jsonl", c) for n, c in enumerate(([one, other], [other, one]))),
        *(two, weighted, _write(tmp_path / "again.jsonl", [one, other])),
    ]
    prints = [read_samples(file, checkpoint, longest=100).fingerprint() for file in files]
    assert len(set(prints)) == 4
    assert prints[0] == prints[4]
