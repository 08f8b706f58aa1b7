"""What a flex flow's entry or a prompty returned, as the output of a flow."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, cast

from phoundry.flows.document import is_mapping
from phoundry.flows.errors import FlowOutputUnserializable
from phoundry.flows.runner import Send

OUTPUT = "output"  # what an entry returns that is neither a mapping nor a dataclass


def sends(
    on_piece: Send | None, stream_output: str | None, several: Mapping[str, Send] | None
) -> dict[str, Send]:
    """Who gets the pieces of which output, of the arguments of `Runner.line`."""
    found = dict(several or {})
    if on_piece is not None and stream_output is not None:
        found[stream_output] = on_piece
    return found


def gathered_text(value: Any, send: Mapping[str, Send]) -> Any:
    """`value` with every generator at its top as the text of its pieces, which go to `send` by the
    output's name as they come."""
    if is_mapping(value):
        return {key: joined(item, send.get(key)) for key, item in value.items()}
    if is_dataclass(value):
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if isinstance(item, Iterator):
                object.__setattr__(value, field.name, joined(item, send.get(field.name)))
        return value
    return joined(value, send.get(OUTPUT))


def joined(value: Any, send: Send | None) -> Any:
    """The text of an iterator's pieces; anything else as it is."""
    if not isinstance(value, Iterator):
        return value
    parts: list[str] = []
    for piece in cast(Iterator[Any], value):
        parts.append(str(piece))
        if send is not None and parts[-1]:
            send(parts[-1])
    return "".join(parts)


async def drained(value: AsyncIterator[Any], send: Send | None) -> str:
    """The text of an asynchronous iterator's pieces."""
    parts: list[str] = []
    async for piece in value:
        parts.append(str(piece))
        if send is not None and parts[-1]:
            send(parts[-1])
    return "".join(parts)


def is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def as_mapping(value: Any) -> dict[str, Any]:
    """A mapping as it is, a dataclass by its fields, any other value as `output`."""
    if is_mapping(value):
        return value
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {OUTPUT: value}


def as_json(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """`outputs` as they are written.

    Raises:
        FlowOutputUnserializable: a value is none of JSON's.
    """
    found: dict[str, Any] = {}
    for name, value in outputs.items():
        try:
            # The name goes along, so that None becomes "null" and True "true", as JSON has them.
            found |= json.loads(json.dumps({name: value}, ensure_ascii=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise FlowOutputUnserializable(
                f"The output '{name}' for flow is incorrect. The output value is not JSON "
                f"serializable. JSON dump failed: ({type(error).__name__}) {error}. Please verify "
                "your flow output and make sure the value serializable."
            ) from None
    return found
