"""JSON taken literally: no `NaN`, no bytes that are not UTF-8, and every fault in words."""

from __future__ import annotations

import json
from typing import Any, NoReturn, cast

from phoundry.data.row import BadRow


def load_json(data: bytes) -> Any:
    """The one JSON value of a line.

    Raises:
        BadRow: what is wrong and at which byte or column.
    """
    try:
        text = data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        reason = f"not UTF-8: byte 0x{byte:02x} (byte {error.start + 1} of the line)"
        raise BadRow("not UTF-8", reason) from None
    return parse_json(text)


def parse_json(text: str) -> Any:
    """The one JSON value of a text. Raises BadRow."""
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg} (column {error.colno})"
        raise BadRow("not JSON", reason) from None
    except RecursionError:
        raise BadRow("not JSON", "JSON that is nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise BadRow("not JSON", f"not JSON: {error}") from None


def dump_json(value: Any, what: str) -> str:
    """The value as JSON text. Raises BadRow where it has what JSON or UTF-8 can't say."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRow("not JSON", f"{what}: not JSON: {error}") from None
    if not encodable(text):
        raise BadRow("not Unicode", f"{what}: half a surrogate pair")
    return text


def encodable(text: str) -> bool:
    """Whether the text is Unicode: JSON can write half of a surrogate pair, UTF-8 can't."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def named(value: Any) -> str:
    """What a value is, in words: `an object`, `text`, `null`."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value"}
    names |= {int: "a number", float: "a number", bytes: "bytes"}
    kind = cast("type[Any]", type(value))
    return "null" if value is None else names.get(kind, f"a {kind.__name__}")


def short(value: Any) -> str:
    """The value as JSON of at most 40 characters."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 40 else f"{text[:39]}…"


def refuse_constant(name: str) -> NoReturn:
    """For `parse_constant`: Python would take NaN and Infinity, which JSON has not."""
    raise BadRow("not JSON", f"not JSON: {name} is no JSON value")


_decode = json.JSONDecoder(parse_constant=refuse_constant).decode
