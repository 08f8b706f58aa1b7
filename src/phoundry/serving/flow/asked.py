"""What a request says: its inputs, and which kinds of answer it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from phoundry.flows.errors import FlowUserError
from phoundry.flows.model import FlowInput

EVENT_STREAM = "text/event-stream"
SHOWN = 1_000  # characters of a request in a message
ANY_JSON = frozenset({"application/json", "application/*", "*/*"})


class BadRequest(FlowUserError):
    code = "BadRequest"


class JsonPayloadRequiredForMultipleInputFields(BadRequest):
    code = "JsonPayloadRequiredForMultipleInputFields"


class MissingRequiredFlowInput(BadRequest):
    code = "MissingRequiredFlowInput"


class NotAcceptable(FlowUserError):
    code = "NotAcceptable"
    status = 406

    @classmethod
    def of(cls, accept: str) -> NotAcceptable:
        return cls(
            f"Media type {accept} in Accept header is not acceptable. "
            "Supported media type(s) - application/json"
        )


class UnsupportedMediaType(FlowUserError):
    code = "UnsupportedMediaType"
    status = 415


def read_inputs(body: bytes, inputs: Mapping[str, FlowInput]) -> dict[str, Any]:
    """The inputs in `body`: a JSON object; for a flow of one input also bare text that is no JSON.

    Of a flow without inputs the body is not looked at.

    Raises:
        BadRequest: neither, or an input that has no default is missing.
    """
    if not inputs:
        return {}
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return {_only(inputs): _text(body)}
    given = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    for name, item in inputs.items():
        if name not in given and item.required:
            raise _lacking(given, value, inputs)
    if given is not value:
        kind = type(cast(object, value)).__name__
        raise BadRequest(
            f"The body is a JSON {kind}.", remedy="Send an object with the flow's inputs: {…}."
        )
    return given


def _lacking(
    given: Mapping[str, Any], value: Any, inputs: Mapping[str, FlowInput]
) -> MissingRequiredFlowInput:
    names = [name for name, item in inputs.items() if name not in given and item.required]
    shown = repr(value)
    if len(shown) > SHOWN:
        shown = f"{shown[:SHOWN]}…"
    return MissingRequiredFlowInput(
        f"Required input fields {names} are missing in request data {shown}"
    )


def _only(names: Mapping[str, FlowInput]) -> str:
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
    """Raise UnsupportedMediaType for a form of several parts: its fields are no inputs.

    `application/x-www-form-urlencoded` is what curl says of any body that it is given.
    """
    if content_type is not None and content_type.startswith(b"multipart/"):
        kind = content_type.decode("latin-1").split(";")[0]
        raise UnsupportedMediaType(
            f"The Content-Type {kind} is not supported. Send application/json; a flow of one "
            "input also takes plain text."
        )
