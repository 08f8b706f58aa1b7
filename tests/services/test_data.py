from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from phoundry.errors import (
    Cancelled,
    Conflict,
    Forbidden,
    InsufficientResources,
    InvalidInput,
    NotFound,
)
from phoundry.services import data, intake, jobs, uploads
from phoundry.services.context import NOBODY, Context
from phoundry.specs.data import DataFile, DataSpec
from phoundry.specs.job import FineTuningJobSpec
from tests.support.assets import hand_over, make_asset

MODEL = "smollm2-135m-instruct"


def every_row(context: Context, reference: str) -> list[dict[str, Any]]:
    return data.rows(context, reference, part="all", limit=999)


def leftovers(context: Context) -> list[str]:
    folder = uploads.folder_of(context)
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def test_every_row_is_in_one_split(context: Context, chats: bytes) -> None:
    asset = make_asset(context, chats)
    assert asset.test is not None
    assert (asset.version, asset.train.rows, asset.test.rows) == ("1", 8, 2)
    assert (asset.rows_read, asset.skipped, asset.duplicates) == (10, 0, 0)
    given = [json.loads(line) for line in chats.splitlines()]
    assert sorted(map(json.dumps, every_row(context, "faq"))) == sorted(map(json.dumps, given))
    assert leftovers(context) == []


def test_the_same_again_makes_no_version_but_a_change_does(context: Context, chats: bytes) -> None:
    make_asset(context, chats)
    assert make_asset(context, chats).version == "1"
    assert make_asset(context, chats, seed=7).version == "2"
    changed = chats.replace(b"number 3", b"three")
    assert make_asset(context, changed).version == "3"
    assert [asset.version for asset in data.listing(context)] == ["3", "2", "1"]
    assert data.show(context, "faq:1").sha256 != data.show(context, "faq").sha256


def test_all_bad_rows_are_told_and_nothing_is_kept(context: Context, chats: bytes) -> None:
    lines = chats.splitlines()
    lines[6] = b"{not json"
    lines[8] = b'{"messages": [{"role": "user", "content": "alone"}]}'
    with pytest.raises(InvalidInput, match="--skip-bad 2") as caught:
        make_asset(context, b"\n".join(lines))
    places = [fault.where for fault in caught.value.faults]
    assert places == ["faq.jsonl:7", "faq.jsonl:9"]
    assert data.listing(context) == []
    assert not context.home.blobs.exists()
    assert leftovers(context) == []


def test_bad_rows_that_are_allowed_are_left_out_and_named(context: Context, chats: bytes) -> None:
    content = chats + b"{not json\n"
    asset = make_asset(context, content, skip_bad=1)
    assert (asset.rows_read, asset.skipped) == (11, 1)
    assert [row.where for row in asset.skipped_rows] == ["faq.jsonl:11"]
    assert len(every_row(context, "faq")) == 10
    assert data.show(context, "faq") == asset
    with pytest.raises(InvalidInput):  # the present version is not what was asked for
        make_asset(context, content)


def test_a_row_that_repeats_another_is_never_on_the_other_side(context: Context) -> None:
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": q}]}
        for q in "abcdefghijabcdefghijaaa"
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    for seed in range(10):
        asset = make_asset(context, content, seed=seed, test_size=0.4)
        train = {
            row["messages"][0]["content"]
            for row in data.rows(context, "faq", part="train", limit=99)
        }
        test = {
            row["messages"][0]["content"]
            for row in data.rows(context, "faq", part="test", limit=99)
        }
        assert train.isdisjoint(test)
        assert train | test == set("abcdefghij")
        assert len(every_row(context, "faq")) == len(rows)
        assert asset.duplicates == 13


def test_several_files_are_one_set(context: Context, chats: bytes) -> None:
    lines = chats.splitlines(keepends=True)
    files = [
        hand_over(context, b"".join(lines[:4]), "a.jsonl"),
        hand_over(context, b"".join(lines[4:]), "b.jsonl"),
    ]
    asset = data.create(context, DataSpec(name="faq", files=files, test_size=0))
    assert asset.filename == "a.jsonl, b.jsonl"
    assert asset.test is None
    assert b"".join(data.export(context, "faq", part="all")) == b"".join(
        data.export(
            context, f"{make_asset(context, chats, name='whole', test_size=0).name}", part="train"
        )
    )
    assert asset.sha256 not in {file.sha256 for file in files}


def test_unknown_names_and_versions(context: Context, chats: bytes) -> None:
    make_asset(context, chats)
    with pytest.raises(NotFound, match="Did you mean faq"):
        data.show(context, "fak")
    with pytest.raises(NotFound, match=r"no version '9'.*faq:1"):
        data.show(context, "faq:9")


def test_an_upload_serves_once(context: Context, chats: bytes) -> None:
    file = hand_over(context, chats)
    data.create(context, DataSpec(name="faq", files=[file]))
    with pytest.raises(NotFound, match=r"faq\.jsonl.*not here"):
        data.create(context, DataSpec(name="other", files=[file]))


def test_two_uploads_of_the_same_bytes_serve_two(context: Context, chats: bytes) -> None:
    first, second = hand_over(context, chats), hand_over(context, chats)
    assert first == second
    for name in ("one", "two"):
        assert data.create(context, DataSpec(name=name, files=[first])).train.rows == 8


def test_what_nobody_takes_up_is_swept_after_a_day(
    context: Context, chats: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over(context, chats)
    hand_over(context, b"other")
    assert len(leftovers(context)) == 2
    monkeypatch.setattr("phoundry.services.uploads.ABANDONED", -1.0)
    hand_over(context, b"third")
    assert len(leftovers(context)) == 1


def test_a_hash_is_no_path(context: Context) -> None:
    with pytest.raises(ValueError, match="pattern"):
        DataFile(filename="x", sha256="../" * 21 + "x")


def test_who_may_not_write_hands_nothing_over(context: Context, chats: bytes) -> None:
    with pytest.raises(Forbidden):
        hand_over(context.acting(NOBODY), chats)
    file = hand_over(context, chats)
    with pytest.raises(Forbidden):
        data.create(context.acting(NOBODY), DataSpec(name="faq", files=[file]))


def test_a_cancelled_creation_keeps_nothing(context: Context, chats: bytes) -> None:
    file = hand_over(context, chats)
    with pytest.raises(Cancelled, match="Nothing was kept"):
        data.create(context, DataSpec(name="faq", files=[file]), stopped=lambda: True)
    assert (data.listing(context), leftovers(context)) == ([], [])


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_while_rows_are_dealt(
    context: Context, chats: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = hand_over(context, chats)
    monkeypatch.setattr(intake, "deal", full)
    with pytest.raises(InsufficientResources) as caught:
        data.create(context, DataSpec(name="faq", files=[file]))
    assert str(context.home.root) in caught.value.message
    assert "'faq' needs about" in caught.value.message
    assert "free" in caught.value.message
    assert (data.listing(context), leftovers(context)) == ([], [])
    assert not context.home.blobs.exists()


def test_a_disk_that_is_full_while_bytes_come_in(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(InsufficientResources, match=r"'big\.jsonl' needs about 5\.0 MB") as caught,
        uploads.receiving(context, "big.jsonl", 5_000_000) as receiver,
    ):
        monkeypatch.setattr(receiver, "_file", Full())
        receiver.write(b"x")
    assert str(uploads.folder_of(context)) in caught.value.message
    assert leftovers(context) == []


class Full:
    """A file on a disk without space."""

    write = close = staticmethod(full)


def test_more_than_the_disk_has_is_refused_before_a_byte(context: Context) -> None:
    huge = uploads.receiving(context, "big.jsonl", 10**18)
    with pytest.raises(InsufficientResources, match="needs about 1,000,000 TB"), huge:
        pytest.fail("it was not refused")


def test_a_version_that_is_deleted_is_never_used_again(context: Context, chats: bytes) -> None:
    make_asset(context, chats)
    make_asset(context, chats, seed=1)
    assert data.delete(context, "faq:2") == ["faq:2"]
    assert data.show(context, "faq").version == "1"
    assert make_asset(context, chats, seed=2).version == "3"
    assert data.delete(context, "faq") == ["faq:1", "faq:3"]
    with pytest.raises(NotFound):
        data.show(context, "faq")
    assert make_asset(context, chats).version == "4"


def test_what_a_job_uses_stays(context: Context, chats: bytes) -> None:
    make_asset(context, chats)
    make_asset(context, chats, name="held", seed=1)
    spec = FineTuningJobSpec(
        name="tuning", model=MODEL, training_data="faq", validation_data="held"
    )
    jobs.create(context, spec)
    for name in ("faq", "held:1"):
        with pytest.raises(Conflict, match="tuning"):
            data.delete(context, name)
    jobs.cancel(context, "tuning")
    assert data.delete(context, "held") == ["held:1"]


def test_what_is_exported_can_be_read_again(context: Context, chats: bytes) -> None:
    asset = make_asset(context, chats)
    train = b"".join(data.export(context, "faq", part="train"))
    test = b"".join(data.export(context, "faq", part="test"))
    assert b"".join(data.export(context, "faq", part="all")) == train + test
    assert len(train) == asset.train.bytes
    again = make_asset(context, train, name="again", test_size=0)
    assert again.train.sha256 == asset.train.sha256
