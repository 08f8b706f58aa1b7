"""The output of a batch: in order, whole, and to be gone on from wherever it was cut."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.serving.batch.answers import ANSWERS, ERRORS, Answer, Answers, Reorder, new_id


def answer(index: int, *, failed: bool = False) -> Answer:
    body: dict[str, Any] = {"error": {"message": "no"}} if failed else {"usage": USAGE}
    response = {"status_code": 400 if failed else 200, "request_id": "r", "body": body}
    record = {"id": new_id(index), "custom_id": f"q{index}", "response": response, "error": None}
    tokens = (0, 0) if failed else (3, 5)
    return Answer(index, record, failed, False, *tokens)


USAGE = {"prompt_tokens": 3, "completion_tokens": 5}


@given(st.permutations(list(range(12))), st.integers(0, 5))
def test_whatever_comes_first_goes_out_in_order(order: list[int], start: int) -> None:
    buffer = Reorder[int](start)
    out: list[int] = []
    for place in order:
        ready = buffer.put(place + start, place)
        out += ready
        assert buffer.following == start + len(out)
    assert out == sorted(order)
    with pytest.raises(ValueError, match="filled before"):
        buffer.put(start, 0)


@given(
    failed=st.lists(st.booleans(), min_size=1, max_size=12),
    chunks=st.lists(st.integers(1, 4), max_size=12),
    cuts=st.tuples(st.integers(0, 4000), st.integers(0, 4000)),
)
def test_cut_anywhere_a_batch_goes_on_with_no_line_lost_or_twice(
    failed: list[bool], chunks: list[int], cuts: tuple[int, int]
) -> None:
    """Each file is cut at any byte, as a kill or a power cut leaves them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        answers = Answers.open(folder)
        for place, bad in enumerate(failed):
            answers.add(answer(place, failed=bad))
            if place in chunks:
                answers.flush()
        answers.flush()
        whole = [(folder / each).read_bytes() for each in (ANSWERS, ERRORS)]
        for each, cut in zip((ANSWERS, ERRORS), cuts, strict=True):
            path = folder / each
            path.write_bytes(path.read_bytes()[:cut])
        again = Answers.open(folder)
        done = again.counts.done
        assert again.counts.failed == sum(failed[:done])
        assert again.counts.completion_tokens == 5 * (done - sum(failed[:done]))
        for place in range(done, len(failed)):
            again.add(answer(place, failed=failed[place]))
        again.flush()
        assert [(folder / each).read_bytes() for each in (ANSWERS, ERRORS)] == whole


def test_what_is_kept_is_the_longest_whole_beginning(tmp_path: Path) -> None:
    answers = Answers.open(tmp_path)
    for place in range(4):
        answers.add(answer(place, failed=place == 1))
    answers.flush()
    (tmp_path / ERRORS).write_bytes(b"")  # the power went before this file was on disk
    assert Answers.open(tmp_path).counts.done == 1
    assert len((tmp_path / ANSWERS).read_text().splitlines()) == 1


def test_lines_come_in_order_or_not_at_all(tmp_path: Path) -> None:
    answers = Answers.open(tmp_path)
    with pytest.raises(ValueError, match="not the next"):
        answers.add(answer(1))
    assert (tmp_path / ANSWERS).read_bytes() == b""
    answers.add(answer(0))
    assert (tmp_path / ANSWERS).read_bytes() == b""
    answers.flush()
    assert json.loads((tmp_path / ANSWERS).read_text())["custom_id"] == "q0"
