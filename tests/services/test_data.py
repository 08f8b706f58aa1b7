from __future__ import annotations

import json

import pytest

from phoundry.errors import InvalidInput, NotFound
from phoundry.services import data
from phoundry.services.context import Context
from phoundry.specs.data import DataSpec


def spec(**changes: object) -> DataSpec:
    return DataSpec.model_validate({"name": "faq", "filename": "faq.jsonl", **changes})


def test_every_row_is_in_one_split(context: Context, chats: bytes) -> None:
    asset = data.create(context, spec(), chats)
    assert asset.test is not None
    assert (asset.version, asset.train.rows, asset.test.rows) == ("1", 8, 2)
    kept = data.rows(context, "faq", part="train", limit=99)
    kept += data.rows(context, "faq", part="test", limit=99)
    given = [json.loads(line) for line in chats.splitlines()]
    assert sorted(map(json.dumps, kept)) == sorted(map(json.dumps, given))


def test_the_same_again_makes_no_version_but_a_change_does(context: Context, chats: bytes) -> None:
    data.create(context, spec(), chats)
    assert data.create(context, spec(), chats).version == "1"
    assert data.create(context, spec(seed=7), chats).version == "2"
    changed = chats.replace(b"number 3", b"three")
    assert data.create(context, spec(), changed).version == "3"
    assert [asset.version for asset in data.listing(context)] == ["3", "2", "1"]
    assert data.show(context, "faq:1").sha256 != data.show(context, "faq").sha256


def test_all_bad_rows_are_told_and_nothing_is_kept(context: Context, chats: bytes) -> None:
    lines = chats.splitlines()
    lines[6] = b"{not json"
    lines[8] = b'{"messages": [{"role": "user", "content": "alone"}]}'
    with pytest.raises(InvalidInput) as caught:
        data.create(context, spec(), b"\n".join(lines))
    places = [fault.where for fault in caught.value.faults]
    assert places == ["faq.jsonl:7", "faq.jsonl:9"]
    assert data.listing(context) == []
    assert not context.home.blobs.exists()


def test_unknown_names_and_versions(context: Context, chats: bytes) -> None:
    data.create(context, spec(), chats)
    with pytest.raises(NotFound, match="Did you mean faq"):
        data.show(context, "fak")
    with pytest.raises(NotFound, match=r"no version '9'.*faq:1"):
        data.show(context, "faq:9")
