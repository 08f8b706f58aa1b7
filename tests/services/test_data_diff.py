from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phoundry.errors import InvalidInput, NotFound
from phoundry.services import data_diff, jobs
from phoundry.services.context import Context
from phoundry.specs.job import FineTuningJobSpec
from tests.support.assets import make_asset

PAIR = {
    "prompt": [{"role": "user", "content": "q"}],
    "chosen": [{"role": "assistant", "content": "yes"}],
    "rejected": [{"role": "assistant", "content": "no"}],
}


def chats_of(words: str) -> bytes:
    rows = [
        {"messages": [{"role": "user", "content": w}, {"role": "assistant", "content": w}]}
        for w in words
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.text("abcdef", min_size=3, max_size=12), st.text("abcdef", min_size=3, max_size=12))
def test_a_diff_counts_every_row_as_often_as_it_is_there(
    context: Context, before: str, after: str
) -> None:
    for name, words in (("one", before), ("two", after)):
        make_asset(context, chats_of(words), name=name, test_size=0)
    found = data_diff.diff(context, "one", "two", limit=99)
    old, new = Counter(before), Counter(after)
    assert found.added == (new - old).total()
    assert found.removed == (old - new).total()
    assert found.kept == (old & new).total()
    shown = Counter(row["messages"][0]["content"] for row in found.added_rows)
    assert shown == new - old
    assert found.moved == 0


def test_what_moved_and_what_was_set_otherwise(context: Context, chats: bytes) -> None:
    make_asset(context, chats, seed=1)
    make_asset(context, chats, seed=2, tags={"a": "b"})
    found = data_diff.diff(context, "faq:1", "faq:2", limit=3)
    assert (found.added, found.removed, found.kept) == (0, 0, 10)
    assert found.moved > 0
    changed = {change.field: (change.before, change.after) for change in found.changes}
    assert changed == {"seed": (1, 2), "tags": ({}, {"a": "b"})}


def test_only_the_first_rows_are_shown(context: Context) -> None:
    make_asset(context, chats_of("abc"), name="one")
    make_asset(context, chats_of("defg"), name="two")
    found = data_diff.diff(context, "one", "two", limit=2)
    assert (found.added, len(found.added_rows)) == (4, 2)
    with pytest.raises(NotFound):
        data_diff.diff(context, "one", "three", limit=2)


def spec(name: str, validation: str) -> FineTuningJobSpec:
    return FineTuningJobSpec(
        name=name,
        model="smollm2-135m-instruct",
        training_data="train",
        validation_data=validation,
    )


def test_a_job_says_that_it_validates_with_what_it_trains_on(context: Context) -> None:
    make_asset(context, chats_of("abcdef"), name="train", test_size=0)
    make_asset(context, chats_of("efgh"), name="held", test_size=0)
    make_asset(context, chats_of("xyz"), name="apart", test_size=0)
    (notice,) = jobs.create(context, spec("one", "held")).notices
    assert notice.startswith("2 of the 4 rows of held:1 are also trained on")
    (notice,) = jobs.create(context, spec("two", "train")).notices
    assert notice.startswith("6 of the 6 rows of train:1")
    assert jobs.create(context, spec("three", "apart")).notices == []


def test_pairs_are_kept_and_no_job_learns_from_them_as_chats(context: Context) -> None:
    pairs = [PAIR | {"prompt": [{"role": "user", "content": f"q{n}"}]} for n in range(5)]
    content = "".join(json.dumps(row) + "\n" for row in pairs).encode()
    asset = make_asset(context, content, name="train", test_size=0)
    assert (asset.type, asset.format, asset.train.rows) == ("preference", "preference", 5)
    with pytest.raises(InvalidInput, match="train:1 holds preference pairs"):
        jobs.create(context, spec("one", "train"))
