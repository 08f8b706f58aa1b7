"""Whether a node has added keys, and what its inputs stand for. Plain nodes go no further."""

from __future__ import annotations

from typing import Any

from phoundry.flows.document import Document, Place, is_mapping
from phoundry.flows.errors import FlowError
from phoundry.flows.extensions.model import NONE, Extensions
from phoundry.flows.reference import ItemReference, Reference, parse

KEYS = ("retry", "timeout", "on_error", "cache", "foreach")
# Keys of `activate` that Prompt flow does not know.
CONDITION_KEYS = frozenset(
    (
        *("any", "all", "not", "is_not", "greater_than", "at_least", "less_than", "at_most"),
        *("in", "not_in", "contains", "matches", "is_empty"),
    )
)


def is_plain(value: Any) -> bool:
    """Whether `activate` holds what Prompt flow knows, right or wrong: `when` and `is` alone."""
    return not is_mapping(value) or CONDITION_KEYS.isdisjoint(value)


def parse_extensions(
    document: Document, at: Place, data: dict[str, Any], errors: list[FlowError]
) -> Extensions:
    """The added keys of the node `data` at `at`; every fault of theirs goes to `errors`."""
    condition = data.get("activate")
    extended = condition is not None and not is_plain(condition)
    if not extended and not any(key in data for key in KEYS):
        return NONE
    from phoundry.flows.extensions.read import read_extensions

    return read_extensions(document, at, data, errors, extended=extended)


def parse_input(value: Any, extensions: Extensions) -> Reference:
    """What an input of a node stands for; under `foreach`, `${item.text}` is of the item."""
    return of_item(value, extensions.foreach.item) if extensions.foreach else parse(value)


def of_item(value: Any, name: str) -> Reference:
    """What `value` stands for where `name` is the item of a `foreach`."""
    if isinstance(value, str) and value.startswith("${") and value.endswith("}"):
        inner = value[2:-1]
        rest = inner.removeprefix(name)
        if inner.startswith(name) and (not rest or rest[0] in ".["):
            return ItemReference(name, rest.removeprefix("."))
    return parse(value)
