"""What a request says: its inputs, and which kinds of answer it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from phoundry.flows.errors import FlowUserError

EVENT_STREAM = "text/event-stream"
ANY_JSON = frozenset({"application/json", "application/*", "*/*"})


class BadRequest(FlowUserError):
    code = "BadRequest"


class JsonPayloadRequiredForMultipleInputFields(BadRequest):
    code = "JsonPayloadRequiredForMultipleInputFields"


class NotAcceptable(FlowUserError):
    code = "NotAcceptable"
    status = 406

    @classmethod
    def of(cls, accept: str, *, streams: bool) -> NotAcceptable:
        kinds = "text/event-stream, application/json" if streams else "application/json"
        return cls(
            f"Media type {accept} in Accept header is not acceptable. "
            f"Supported media type(s) - {kinds}"
        )


class UnsupportedMediaType(FlowUserError):
    code = "UnsupportedMediaType"
    status = 415


def read_inputs(body: bytes, names: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs in `body`: a JSON object; for a flow of one input also its bare text.

    `names` are the flow's inputs. Of a flow without any the body is not looked at.

    Raises:
        BadRequest: neither.
    """
    if not names:
        return {}
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return {_only(names): _text(body)}
    if isinstance(value, dict):
        return cast(dict[str, Any], value)
    if len(names) == 1:
        return {_only(names): value}
    kind = type(value).__name__
    raise BadRequest(
        f"The body is a JSON {kind}.", remedy="Send an object with the flow's inputs: {…}."
    )


def _only(names: Mapping[str, Any]) -> str:
    if len(names) > 1:
        raise JsonPayloadRequiredForMultipleInputFields(
            "Promptflow executor received non json data, but there's more than 1 input fields, "
            "please use json request data instead."
        )
    return next(iter(names))


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8: byte {error.start} is invalid.") from None


def accepted(accept: bytes | None) -> tuple[bool, bool]:
    """Whether an answer may be an event stream, and whether JSON; nothing said is `*/*`.

    Only `text/event-stream` itself asks for a stream. A kind with `q=0` is refused.
    """
    if accept is None or accept in (b"*/*", b"application/json", b""):
        return False, True
    kinds: set[str] = set()
    for part in accept.decode("latin-1").lower().split(","):
        kind, *parameters = (each.strip() for each in part.split(";"))
        if not any(each.replace(" ", "") in ("q=0", "q=0.0", "q=0.00") for each in parameters):
            kinds.add(kind)
    return EVENT_STREAM in kinds, not ANY_JSON.isdisjoint(kinds)


def check_type(content_type: bytes | None) -> None:
    """Raise UnsupportedMediaType for a form: its fields are no inputs."""
    if content_type is None or content_type.startswith(b"application/json"):
        return
    kind = content_type.decode("latin-1").split(";")[0].strip().lower()
    if kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        raise UnsupportedMediaType(
            f"The Content-Type '{kind}' is not supported.",
            remedy="Send application/json; a flow of one input also takes plain text.",
        )
