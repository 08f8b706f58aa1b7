"""The fixtures of the services: a journey walks over them."""

from __future__ import annotations

from typing import Any

from phoundry.services import data, uploads
from phoundry.services.context import Context
from phoundry.specs.data import DataAsset, DataFile, DataSpec
from tests.services.conftest import chats, context, fleet, plenty_of_memory
from tests.support.quick import quick_databases

__all__ = ["chats", "context", "fleet", "kept", "plenty_of_memory", "quick_databases"]


def kept(context: Context, name: str, content: bytes, **options: Any) -> DataAsset:
    """`content` handed over and made the next version of `name`."""
    with uploads.receiving(context, "faq.jsonl", len(content)) as receiver:
        receiver.write(content)
        upload = receiver.finish()
    files = [DataFile(filename="faq.jsonl", sha256=upload.sha256)]
    return data.create(context, DataSpec(name=name, files=files, **options))
