"""What a served flow answers: bytes, and Prompt flow's body of an error."""

from __future__ import annotations

from typing import Any

from phoundry.errors import PhoundryError, Unauthenticated
from phoundry.flows.errors import FlowError, SessionTimeout
from phoundry.flows.session.redact import redact
from phoundry.serving.asgi import JSON_TYPE, Send, encode
from phoundry.serving.errors import message_of, response_headers

# One header each: Chromium reads a header as one challenge, and would not ask for a password.
_ASK = [
    (b"www-authenticate", b'Basic realm="flow", charset="UTF-8"'),
    (b"www-authenticate", b'Bearer realm="flow"'),
]


def status_of(error: PhoundryError) -> int:
    """As Prompt flow answers: 400 for what a user can mend, 500 for the rest; 408 after a timeout,
    which it does not know. What only a server meets has a status of its own."""
    if not isinstance(error, FlowError):
        return error.status
    if isinstance(error, SessionTimeout):
        return 408
    if error.status != FlowError.status:
        return error.status
    return 400 if error.codes[0] == "UserError" else 500


def body_of(error: PhoundryError, secrets: tuple[str, ...] = ()) -> dict[str, Any]:
    """`{"error": {"code": outermost, "message", "innerError": {"code": innermost}}}`."""
    codes = error.codes if isinstance(error, FlowError) else [error.code]
    # A flow's own message is Prompt flow's, word for word.
    message = error.message if isinstance(error, FlowError) else message_of(error)
    body = {"code": codes[0], "message": redact(message, secrets)}
    if len(codes) > 1:
        body["innerError"] = {"code": codes[-1]}
    return {"error": body}


def headers_of(error: PhoundryError) -> list[tuple[bytes, bytes]]:
    if isinstance(error, Unauthenticated):
        return _ASK
    return response_headers(error)


def event(value: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + encode(value) + b"\n\n"


async def reply_bytes(
    send: Send,
    status: int,
    body: bytes,
    kind: tuple[bytes, bytes] = JSON_TYPE,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    """One whole answer."""
    length = (b"content-length", b"%d" % len(body))
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [kind, length, *headers] if headers else [kind, length],
        }
    )
    await send({"type": "http.response.body", "body": body})
