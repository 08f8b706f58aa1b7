"""`promptflow.contracts.multimedia`: bytes that know their media type."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Self

from phoundry.flows.document import is_mapping

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF": "image/gif",
    b"BM": "image/bmp",
    b"II*\x00": "image/tiff",
    b"MM\x00*": "image/tiff",
}
ANY_IMAGE = "image/*"


def guess(value: bytes) -> str:
    """The media type that the first bytes of an image tell, `image/*` where they don't."""
    if value[:4] == b"RIFF" and value[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC.items() if value.startswith(magic)), ANY_IMAGE)


class PFBytes(bytes):
    def __new__(cls, value: bytes, *args: Any, **kwargs: Any) -> Self:
        return super().__new__(cls, value)

    def __init__(self, value: bytes, mime_type: str, source_url: str | None = None) -> None:
        super().__init__()
        self._mime_type = mime_type.lower()
        self._source_url = source_url
        self._hash = hashlib.sha1(value, usedforsecurity=False).hexdigest()[:8]

    @property
    def mime_type(self) -> str:
        return self._mime_type

    @property
    def source_url(self) -> str | None:
        return self._source_url

    def to_base64(self, with_type: bool = False) -> str:
        text = base64.b64encode(self).decode()
        return f"data:{self._mime_type};base64,{text}" if with_type else text


class Image(PFBytes):
    """An image in a prompt reads `Image(a9993e36)`: the start of its bytes' SHA-1."""

    def __init__(
        self, value: bytes, mime_type: str | None = None, source_url: str | None = None
    ) -> None:
        super().__init__(value, guess(value) if mime_type is None else mime_type, source_url)

    def __str__(self) -> str:
        return f"Image({self._hash})"

    __repr__ = __str__

    def serialize(self, encoder: Callable[[Image], Any] | None = None) -> Any:
        return str(self) if encoder is None else encoder(self)


class Text(str):
    """A text part of a message, with the annotations that came with it."""

    __slots__ = ("_annotations",)
    _annotations: list[Any] | None

    def __new__(cls, value: str, annotations: list[Any] | None = None) -> Self:
        text = super().__new__(cls, value)
        text._annotations = annotations
        return text

    @classmethod
    def deserialize(cls, data: Mapping[str, Any]) -> Self:
        text: Any = data.get("text", "")
        if is_mapping(text):
            return cls(text.get("value", ""), text.get("annotations", []))
        return cls(text)

    def serialize(self) -> dict[str, Any]:
        if self._annotations is None:
            return {"type": "text", "text": str(self)}
        return {"type": "text", "text": {"value": str(self), "annotations": self._annotations}}
