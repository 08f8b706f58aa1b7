"""uvicorn's HTTP protocol with a bound on everything that is not a body.

The parser collects headers (and the trailers and extensions of chunks) without any bound, before a
key is looked at: one endless header would fill the memory. Here it is answered with 431. Nor does
the protocol bound how many requests one client sends ahead of its answers: a read has thousands.
"""

from __future__ import annotations

import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT = 64 * 1024  # bytes of the request's line and its headers
AHEAD_LIMIT = 64  # requests that a connection may send before the one under way is answered


def refusal(status: bytes, code: str, message: str) -> bytes:
    """A whole answer, for where no application has been asked yet."""
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return (
        b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(body), body)
    )


TOO_LARGE = refusal(
    b"431 Request Header Fields Too Large",
    "HeadersTooLarge",
    f"The request's headers are larger than {HEAD_LIMIT:,} bytes.",
)
MALFORMED = refusal(b"400 Bad Request", "InvalidInput", "This is not an HTTP request.")


class HeadTooLarge(Exception):
    """Raised into the parser, which stops at once."""


class TooManyAhead(Exception):
    """Raised into the parser, which stops at once."""


class BoundedHeads(HttpToolsProtocol):
    """A connection whose requests have heads of at most `HEAD_LIMIT` bytes.

    Who sends more than `AHEAD_LIMIT` requests ahead is hung up on.
    """

    _held = 0  # bytes fed since the parser last let go of what it holds

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._held += len(data)
        super().data_received(data)
        if self._held > HEAD_LIMIT and not self.transport.is_closing():
            self._refuse(TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        # The parser reports our own stop as a bad request.
        self._refuse(TOO_LARGE if self._held > HEAD_LIMIT else MALFORMED)

    def on_headers_complete(self) -> None:
        if self._held > HEAD_LIMIT:  # fed together with something else, or too large indeed
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > HEAD_LIMIT:
                raise HeadTooLarge
        if len(self.pipeline) >= AHEAD_LIMIT:
            raise TooManyAhead
        self._held = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._held = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._held = 0
        super().on_message_complete()

    def _refuse(self, answer: bytes) -> None:
        """Answer, unless an answer has begun or is owed to earlier requests, and hang up."""
        cycle = self.cycle  # there is none before the first request, whatever its type says
        begun = bool(cycle and cycle.response_started and not cycle.response_complete)
        if not begun and not self.pipeline:
            self.transport.write(answer)
        self.transport.close()
