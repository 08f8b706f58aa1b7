"""`promptflow.contracts.multimedia`: bytes that know their media type."""

from __future__ import annotations

import base64
from typing import Any, Self

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
}


class PFBytes(bytes):
    def __new__(cls, value: bytes, *args: Any, **kwargs: Any) -> Self:
        return super().__new__(cls, value)

    def __init__(self, value: bytes, mime_type: str, source_url: str | None = None) -> None:
        super().__init__()
        self._mime_type = mime_type.lower()
        self.source_url = source_url

    def to_base64(self, with_type: bool = False) -> str:
        text = base64.b64encode(self).decode()
        return f"data:{self._mime_type};base64,{text}" if with_type else text


class Image(PFBytes):
    def __init__(
        self, value: bytes, mime_type: str | None = None, source_url: str | None = None
    ) -> None:
        found = next((kind for magic, kind in _MAGIC.items() if value.startswith(magic)), None)
        if value[:4] == b"RIFF" and value[8:12] == b"WEBP":
            found = "image/webp"
        super().__init__(value, mime_type or found or "image/*", source_url)
