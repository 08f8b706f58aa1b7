from __future__ import annotations

import pytest

from phoundry.data import Refusals, RefusedRow
from phoundry.errors import InvalidInput


def add(refusals: Refusals, number: int, kind: str = "not JSON") -> None:
    for line in range(1, number + 1):
        refusals.add(RefusedRow("faq.jsonl", line, kind, f"{kind} there"))


def test_so_many_bad_rows_may_be_left_out() -> None:
    refusals = Refusals(allowed=3)
    add(refusals, 3)
    refusals.check(10, "faq.jsonl")
    add(refusals, 1, "empty answer")
    with pytest.raises(InvalidInput) as caught:
        refusals.check(10, "faq.jsonl")
    assert caught.value.message == (
        "faq.jsonl: 4 of 14 rows cannot be used (3 × not JSON, 1 × empty answer)."
    )
    assert "--skip-bad 4" in str(caught.value)


def test_ten_thousand_bad_rows_are_summarised() -> None:
    refusals = Refusals()
    add(refusals, 12_000)
    with pytest.raises(InvalidInput) as caught:
        refusals.check(1, "faq.jsonl")
    error = caught.value
    assert error.total == 12_000
    assert str(error).count("\n") == 22
    assert "faq.jsonl: 12000 of 12001 rows" in str(error)
    assert len(error.to_dict()["faults"]) == 100


def test_bad_rows_alone_are_never_enough() -> None:
    refusals = Refusals(allowed=10)
    add(refusals, 2, "no question")
    with pytest.raises(InvalidInput, match=r"2 of 2 rows cannot be used.*") as caught:
        refusals.check(0, "faq.csv")
    assert "A conversation looks like this" in str(caught.value)


def test_a_damaged_file_is_never_used_in_part() -> None:
    refusals = Refusals(allowed=10)
    add(refusals, 1, "file damaged")
    with pytest.raises(InvalidInput, match="Copy or download the file again"):
        refusals.check(100, "faq.jsonl.gz")


def test_what_a_cut_file_lacks_cannot_be_allowed() -> None:
    refusals = Refusals(allowed=10)
    add(refusals, 1, "file cut")
    with pytest.raises(InvalidInput, match="nobody knows how many rows are missing") as caught:
        refusals.check(100, "faq.jsonl.gz")
    assert "--skip-bad" not in str(caught.value)


def test_an_empty_source_is_said_to_be_empty() -> None:
    with pytest.raises(InvalidInput, match=r"^faq\.jsonl is empty"):
        Refusals().check(0, "faq.jsonl")
