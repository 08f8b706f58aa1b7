"""`response_format`: JSON of any kind, or of a schema that the engine can be held to.

A keyword that the engine would pass over is refused by its place, so that what is promised is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from phoundry.data.json_text import encodable
from phoundry.serving.errors import bad_parameter
from phoundry.serving.replica.parameters import Parameters

DEPTH = 20
_NESTED = frozenset({"items", "additionalProperties"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS = frozenset({"properties", "$defs", "definitions"})
_PLAIN = frozenset(
    {"type", "enum", "const", "required", "$ref", "pattern"}
    | {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
)
# They describe and demand nothing.
_WORDS = frozenset(
    {"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated"}
    | {"readOnly", "writeOnly"}
)
_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
)
_ANY_OBJECT: dict[str, Any] = {"type": "object"}
# Python's way of writing JSON, and no white space besides: a small model can lose itself in it.
_WRITTEN = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def read_response_format(parameters: Parameters) -> Mapping[str, Any] | None:
    """The schema that the answer must have; None for text.

    Raises InvalidInput naming what cannot be used.
    """
    name = "response_format"
    asked = Parameters(parameters.mapping(name), f"{name}.")
    kind = asked.text("type") or "text"
    if kind == "text":
        return None
    if kind == "json_object":
        return written(_ANY_OBJECT)
    if kind != "json_schema":
        raise bad_parameter(
            name, f'has the type {kind!r}; known are "text", "json_object" and "json_schema".'
        )
    inner = Parameters(asked.mapping("json_schema"), f"{name}.json_schema.")
    inner.refuse_unknown(frozenset({"name", "schema", "strict", "description"}))
    inner.boolean("strict")  # a schema is always kept here
    schema = inner.mapping("schema")
    if not schema:
        raise bad_parameter(f"{name}.json_schema.schema", "must be a JSON schema {…}.")
    check_schema(schema, f"{name}.json_schema.schema")
    return written(schema)


def written(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with the way in which its JSON is to be written."""
    return {**schema, "x-guidance": _WRITTEN}


def check_schema(schema: object, where: str, depth: int = 0) -> None:
    """Raise InvalidInput naming the place of a keyword that would not be kept."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise bad_parameter(where, "must be a JSON schema {…}.")
    if depth == 0:
        _check_text(cast(object, schema), where)
    if depth > DEPTH:
        raise bad_parameter(where, f"is nested more than {DEPTH} deep.")
    for key, value in cast(dict[str, Any], schema).items():
        place = f"{where}.{key}"
        if key in _NESTED:
            check_schema(value, place, depth + 1)
        elif key in _LISTS:
            _check_list(value, place, depth)
        elif key in _MAPS:
            _check_map(value, place, depth)
        else:
            _check_keyword(key, value, place)


def _check_text(schema: object, where: str) -> None:
    try:
        text = json.dumps(schema, ensure_ascii=False)
    except RecursionError:  # of an enum or an example: those are not looked into
        raise bad_parameter(where, "is nested too deeply.") from None
    if not encodable(text):
        raise bad_parameter(where, "is not Unicode: it has half a surrogate pair.")


def _check_keyword(key: str, value: object, place: str) -> None:
    if key == "type":
        _check_type(value, place)
    elif key == "$ref":
        _check_reference(value, place)
    elif key == "format":
        if not isinstance(value, str) or value not in _FORMATS:
            raise bad_parameter(place, f"must be of {', '.join(sorted(_FORMATS))}.")
    elif key not in _PLAIN and key not in _WORDS:
        raise bad_parameter(place, "is a keyword that answers cannot be held to here.")


def _check_list(value: object, place: str, depth: int) -> None:
    if not isinstance(value, list) or not value:
        raise bad_parameter(place, "must be a list of schemas, at least one.")
    for index, item in enumerate(cast(list[Any], value)):
        check_schema(item, f"{place}[{index}]", depth + 1)


def _check_map(value: object, place: str, depth: int) -> None:
    if not isinstance(value, dict):
        raise bad_parameter(place, "must be an object of schemas.")
    for name, item in cast(dict[str, Any], value).items():
        check_schema(item, f"{place}.{name}", depth + 1)


def _check_type(value: object, place: str) -> None:
    kinds = cast(list[Any], value if isinstance(value, list) else [value])
    if not kinds or not all(isinstance(kind, str) and kind in _TYPES for kind in kinds):
        raise bad_parameter(place, f"must be of {', '.join(sorted(_TYPES))}.")


def _check_reference(value: object, place: str) -> None:
    # Another address would be fetched, or passed over.
    if not isinstance(value, str) or not (value == "#" or value.startswith("#/")):
        raise bad_parameter(place, "must point into this schema (#/$defs/…).")
