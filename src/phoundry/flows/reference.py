"""`${inputs.question}`, `${node.output.items[0]['text']}`: what a value in the file refers to.

A reference is a whole value: `"hi ${inputs.x}"` is a literal. Nothing here knows a flow; whether
a name exists is asked by `topology.py` before a run and by `resolve` during it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from phoundry.flows.document import is_mapping
from phoundry.flows.errors import (
    InputNotFound,
    InvalidReferenceProperty,
    UnsupportedReference,
    WrongType,
)

FLOW_PREFIXES = ("inputs.", "flow.")  # `flow.` is the legacy spelling
# A name, a quoted key, or an index; whatever stands between them is skipped as Prompt flow does.
STEP = re.compile(r"(?P<name>\w+)|\['(?P<key>.*?)'\]|\[(?P<index>\d+)\]")


@dataclass(frozen=True, slots=True)
class Literal:
    value: Any


@dataclass(frozen=True, slots=True)
class InputReference:
    """`${inputs.name}`."""

    name: str

    def __str__(self) -> str:
        return f"${{inputs.{self.name}}}"


@dataclass(frozen=True, slots=True)
class NodeReference:
    """`${node.section.path}`; `section` other than `output` is refused when it is resolved."""

    node: str
    section: str = "output"
    path: str = ""

    def __str__(self) -> str:
        parts = (self.node, self.section, self.path)
        return f"${{{'.'.join(part for part in parts if part)}}}"


@dataclass(frozen=True, slots=True)
class ItemReference:
    """`${item.path}` in a node with `foreach`: of the item that the node runs for."""

    name: str
    path: str = ""

    def __str__(self) -> str:
        return f"${{{'.'.join(part for part in (self.name, self.path) if part)}}}"


Reference = Literal | InputReference | NodeReference | ItemReference


def parse(value: Any) -> Reference:
    """What `value`, as written in the file, stands for."""
    if not (isinstance(value, str) and value.startswith("${") and value.endswith("}")):
        return Literal(value)
    inner = value[2:-1]
    for prefix in FLOW_PREFIXES:
        if inner.startswith(prefix):
            return InputReference(inner.removeprefix(prefix))
    node, dot, rest = inner.partition(".")
    if not dot:
        return NodeReference(node)
    section, _, path = rest.partition(".")
    return NodeReference(node, section, path)


def resolve(reference: Reference, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
    """The value of `reference` in a run.

    Raises:
        InputNotFound: the flow has no such input.
        UnsupportedReference: a section other than `output`.
        InvalidReferenceProperty: the node's output has no such property, key or index.
    """
    match reference:
        case Literal(value):
            return value
        case InputReference(name):
            if name not in inputs:
                raise InputNotFound(
                    f"Flow execution failed. The input '{name}' is not found from flow inputs "
                    f"'{', '.join(inputs)}'. Please check the input name and try again."
                )
            return inputs[name]
        case NodeReference(node, section, path):
            if section != "output":
                raise UnsupportedReference(
                    f"Flow execution failed. The section '{section}' of reference is currently "
                    f"unsupported. Please specify the output part of the node '{node}'.",
                    remedy=f"Write ${{{node}.output}} or ${{{node}.output.KEY}}.",
                )
            return walk(node, outputs.get(node), path)
        case ItemReference():
            raise UnsupportedReference(f"{reference} stands outside of its `foreach`.")


def walk(node: str, value: Any, path: str) -> Any:
    """Follow `a.b[0]['k']` from the output `value` of `node`.

    Raises:
        InvalidReferenceProperty: no such property, key or index.
        WrongType: an index into something that has none.
    """
    try:
        for item, named in _steps(path):
            value = _attribute(value, str(item)) if named else value[item]
    except TypeError as error:
        raise WrongType(
            str(error), remedy=f"Correct '{path}' in the reference to the node '{node}'."
        ) from None
    except (KeyError, IndexError, AttributeError):
        raise InvalidReferenceProperty(
            f"Flow execution failed. Invalid property '{path}' when accessing the node '{node}'. "
            "Please check the property and try again."
        ) from None
    return value


@lru_cache(maxsize=4096)
def _steps(path: str) -> tuple[tuple[int | str, bool], ...]:
    """The keys and indices of `path`, and whether each is a name (and so may be an attribute)."""
    found: list[tuple[int | str, bool]] = []
    for step in STEP.finditer(path):
        if (index := step["index"]) is not None:
            found.append((int(index), False))
        elif (key := step["key"]) is not None:
            found.append((key, False))
        else:
            found.append((step["name"], True))
    return tuple(found)


def _attribute(value: Any, name: str) -> Any:
    if is_mapping(value):
        return value[name]
    if name.startswith("_"):  # a flow file reads data, not the insides of objects
        raise AttributeError(name)
    try:
        return getattr(value, name)
    except Exception:  # noqa: BLE001 - a property runs the code of the tool's own class
        raise AttributeError(name) from None
