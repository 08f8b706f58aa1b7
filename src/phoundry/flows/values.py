"""How written values become typed ones: flow inputs by their declared type, literals by the
annotation of the parameter they are meant for.

The rules are Prompt flow's, observed: int is Python's `int()` (3.7 becomes 3, True 1, "1_000"
1000), a bool is a bool or "true"/"false" in any case, a list may be its JSON, an object may be its
JSON or any string at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.document import is_list
from phoundry.flows.errors import (
    InputNotFound,
    InputParseError,
    InputTypeError,
    InvalidImageInput,
    LoadMultimediaDataError,
    UnknownWord,
)
from phoundry.flows.model import FlowInput

VALUE_TYPES = (
    "int",
    "double",
    "bool",
    "string",
    "secret",
    "prompt_template",
    "list",
    "object",
    "file_path",
    "image",
    "assistant_definition",
)
# Inputs that may hold images: the first as a whole, the others at any depth.
WITH_IMAGES = ("image", "list", "object")


def check_type(word: str, *, where: str | None = None) -> str:
    """`word` itself when it is a value type.

    Raises:
        UnknownWord: it is none; the nearest is named.
    """
    if word in VALUE_TYPES:
        return word
    near = nearest(str(word), VALUE_TYPES)
    remedy = f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(VALUE_TYPES)}."
    raise UnknownWord(f"'{word}' is not a valid ValueType", remedy=remedy, where=where)


def parse(kind: str, value: Any) -> Any:
    """`value` as a `kind` of `VALUE_TYPES`.

    Raises:
        json.JSONDecodeError: a list given as a string that is not JSON.
        ValueError, TypeError, OverflowError, RecursionError: any other value that is no `kind`.
    """
    return _PARSERS.get(kind, _same)(value)


def coerce_inputs(
    declared: Mapping[str, FlowInput],
    given: Mapping[str, Any],
    line: int | None = 0,
    *,
    images: bool = True,
) -> dict[str, Any]:
    """The inputs of one run: coerced, defaults only where the key is absent, extras kept.
    `images` says whether those in them are read; flex flows get them as they are written.

    Whether all are there is asked first, then their types, then images are read: which of several
    faults is told does not depend on the order of the file.

    Raises:
        InputNotFound: an input without default is absent.
        InputTypeError, InputParseError: a value is not of its declared type.
        LoadMultimediaDataError: what should be an image is none, or can't be read.
    """
    place = "" if line is None else f" in line {line} of input data"
    inputs = dict(given)
    started: list[str] = []  # histories of a chat that begins
    for name, spec in declared.items():
        if name in given:
            continue
        if spec.default is not None:
            inputs[name] = spec.default
        elif spec.is_chat_history:
            inputs[name] = []
            started.append(name)
        else:
            raise _absent(name, place or " in input data")
    for name, spec in declared.items():
        if name not in started:
            inputs[name] = _coerce(name, spec.type, inputs[name], place)
    for name, spec in declared.items() if images else ():
        if spec.type in WITH_IMAGES and name not in started:
            inputs[name] = _with_images(name, spec, inputs[name])
    return inputs


def _absent(name: str, place: str) -> InputNotFound:
    return InputNotFound(
        f"The input for flow is incorrect. The value for flow input '{name}' is not "
        f"provided{place}. "
        "Please review your input data or remove this input in your flow if it's no longer needed."
    )


def _with_images(name: str, spec: FlowInput, value: Any) -> Any:
    if spec.type != "image" and not isinstance(value, dict | list):
        return value
    from phoundry.flows.multimedia import load_images, make_image

    style = spec.message_format
    try:
        if spec.type != "image":
            return load_images(value, style)
        if is_list(value):  # of several lines, for an aggregation
            return [make_image(item, style) for item in value]
        return make_image(value, style)
    except (InvalidImageInput, OSError, ValueError, RecursionError) as error:
        kind = type(error).__name__
        text = error.message if isinstance(error, InvalidImageInput) else str(error)
        raise LoadMultimediaDataError(
            f"Failed to load image for input '{name}': ({kind}) {text}"
        ) from None


def _coerce(name: str, kind: str, value: Any, place: str) -> Any:
    try:
        return parse(kind, value)
    except json.JSONDecodeError as error:
        raise InputParseError(
            f"Failed to parse the flow input. The value for flow input '{name}'{place} was "
            f"interpreted as JSON string since its type is '{kind}'. However, the value '{value}' "
            f"is invalid for JSON parsing. Error details: (JSONDecodeError) {error}. "
            "Please make sure your inputs are properly formatted."
        ) from None
    except (ValueError, TypeError, OverflowError, RecursionError):  # the last: nested without end
        raise InputTypeError(
            f"The input for flow is incorrect. The value for flow input '{name}'{place} does not "
            f"match the expected type '{kind}'. Please change flow input type or adjust the input "
            "value in your input data."
        ) from None


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError(f"Invalid boolean value {value!r}")


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        value = json.loads(value)
    if not is_list(value):
        raise ValueError(f"Invalid list value {value!r}")
    return value


def _object(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value  # it may really be meant as a string


def _same(value: Any) -> Any:
    return value


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "double": float,
    "bool": _bool,
    "string": str,
    "list": _list,
    "object": _object,
}
