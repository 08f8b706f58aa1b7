"""uvicorn's HTTP protocol with a bound on everything that is not a body.

The parser collects headers (and the trailers and extensions of chunks) without any bound, before a
key is looked at: one endless header would fill the memory. Here it is answered with 431.
"""

from __future__ import annotations

import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT = 64 * 1024  # bytes of the request's line and its headers
_MESSAGE = f"The request's headers are larger than {HEAD_LIMIT:,} bytes."
_BODY = json.dumps({"error": {"code": "HeadersTooLarge", "message": _MESSAGE}}).encode()
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n"
    b"connection: close\r\n\r\n%s" % (len(_BODY), _BODY)
)


class HeadTooLarge(Exception):
    """Raised into the parser, which stops at once."""


class BoundedHeads(HttpToolsProtocol):
    """A connection whose requests have heads of at most `HEAD_LIMIT` bytes."""

    _head = 0  # bytes of the present request's line, headers and trailers
    _held = 0  # bytes fed since the parser last let go of what it holds

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._held += len(data)
        super().data_received(data)
        if self._held > HEAD_LIMIT and not self.transport.is_closing():
            self._refuse()

    def send_400_response(self, msg: str) -> None:
        if self._head > HEAD_LIMIT:
            self._refuse()  # the parser reports our own stop as a bad request
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name + value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._held = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._held = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._held = 0
        super().on_message_complete()

    def _count(self, part: bytes) -> None:
        self._head += len(part)
        if self._head > HEAD_LIMIT:
            raise HeadTooLarge

    def _refuse(self) -> None:
        self.transport.write(_REFUSAL)
        self.transport.close()
