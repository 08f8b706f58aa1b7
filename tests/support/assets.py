"""Data assets for tests of every room: bytes in, asset out, as an upload would make them."""

from __future__ import annotations

from phoundry.services import data, uploads
from phoundry.services.context import Context
from phoundry.specs.data import DataAsset, DataFile, DataSpec


def hand_over(context: Context, content: bytes, filename: str = "faq.jsonl") -> DataFile:
    """What `POST /api/data/files` does."""
    with uploads.receiving(context, filename, len(content)) as receiver:
        receiver.write(content)
        return DataFile(filename=filename, sha256=receiver.finish().sha256)


def make_asset(
    context: Context,
    content: bytes,
    *,
    name: str = "faq",
    filename: str = "faq.jsonl",
    **settings: object,
) -> DataAsset:
    """`content` as the next version of `name`; `settings` are fields of a DataSpec."""
    file = hand_over(context, content, filename)
    spec = DataSpec.model_validate({"name": name, "files": [file], **settings})
    return data.create(context, spec)
