from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.data import Row, split, to_jsonl
from phoundry.errors import InvalidInput
from tests.data.chats import chat, chats, steady


@steady
@given(
    count=st.integers(2, 300),
    test_size=st.floats(0, 0.5),
    seed=st.integers(0, 2**32),
)
def test_every_row_is_in_exactly_one_split(count: int, test_size: float, seed: int) -> None:
    rows = list(range(count))
    parts = split(rows, test_size, seed)
    assert sorted(parts.train + parts.test) == rows
    assert len(parts.test) == math.ceil(count * test_size)
    assert parts.train == sorted(parts.train)
    assert parts.test == sorted(parts.test)
    assert split(rows, test_size, seed) == parts


def test_the_split_never_changes_between_machines_or_versions() -> None:
    # Which rows are held out is part of what a data asset's hash promises.
    assert split(range(12), 0.25, seed=42).test == [0, 1, 11]


def test_another_seed_holds_out_other_rows() -> None:
    held_out = {tuple(split(range(100), 0.2, seed).test) for seed in range(20)}
    assert len(held_out) == 20


def test_the_held_out_rows_come_from_everywhere() -> None:
    # Twenty rows of each hundred, give or take: a file sorted by topic keeps all its topics.
    test = split(range(1000), 0.2, seed=42).test
    per_hundred = [sum(100 * i <= row < 100 * (i + 1) for row in test) for i in range(10)]
    assert sum(per_hundred) == 200
    assert min(per_hundred) >= 8
    assert max(per_hundred) <= 35


def test_a_fifth_of_503_rows_is_rounded_up() -> None:
    parts = split(range(503), 0.2, seed=42)
    assert (len(parts.train), len(parts.test)) == (402, 101)


def test_no_test_split_when_none_is_asked_for() -> None:
    assert split(["a"], 0, seed=1).train == ["a"]


@pytest.mark.parametrize(("count", "test_size"), [(0, 0.2), (1, 0.2), (2, 0.9), (0, 0)])
def test_too_few_rows_are_refused(count: int, test_size: float) -> None:
    with pytest.raises(InvalidInput, match=f"{count} row.*leave none to train on"):
        split(range(count), test_size, seed=1)


@pytest.mark.parametrize("test_size", [-0.1, 1, 1.5, math.nan])
def test_a_test_size_that_is_no_share_is_refused(test_size: float) -> None:
    with pytest.raises(InvalidInput, match="at least 0 and below 1"):
        split(range(10), test_size, seed=1)


def test_jsonl_is_canonical() -> None:
    row = Row(messages=[{"content": "Vem är \u2028du?", "role": "user"}, *chat("", "Jag\n")[1:]])
    assert (
        to_jsonl([row, row])
        == (
            '{"messages":[{"role":"user","content":"Vem är \u2028du?"},'
            '{"role":"assistant","content":"Jag\\n"}]}\n'
        ).encode()
        * 2
    )
    assert to_jsonl([]) == b""


@steady
@given(st.lists(chats().map(lambda messages: Row(messages=messages)), max_size=3))
def test_what_is_written_is_what_was_there(rows: list[Row]) -> None:
    written = to_jsonl(rows)
    assert written.count(b"\n") == len(rows)
    assert [json.loads(line) for line in written.split(b"\n")[:-1]] == rows
