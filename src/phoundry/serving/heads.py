"""uvicorn's HTTP protocol with a bound on everything that is not a body.

The parser collects headers (and the trailers and extensions of chunks) without any bound, before a
key is looked at: one endless header would fill the memory. Here it is answered with 431.
"""

from __future__ import annotations

import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_LIMIT = 64 * 1024  # bytes of the request's line and its headers


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


class BoundedHeads(HttpToolsProtocol):
    """A connection whose requests have heads of at most `HEAD_LIMIT` bytes."""

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
        self._held = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._held = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._held = 0
        super().on_message_complete()

    def _refuse(self, answer: bytes) -> None:
        """Answer, unless an answer has begun, and hang up."""
        cycle: RequestResponseCycle | None = self.cycle
        if not (cycle and cycle.response_started) or cycle.response_complete:
            self.transport.write(answer)
        self.transport.close()
