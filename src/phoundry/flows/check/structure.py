"""The shape of a flow's file: sections, keys, words and types."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.check import keys
from phoundry.flows.check.draft import Body, Draft
from phoundry.flows.check.finding import Notes
from phoundry.flows.check.keys import check_keys
from phoundry.flows.document import Place, is_list, is_mapping
from phoundry.flows.inspection import SOURCE_TYPES
from phoundry.flows.model import NODE_TYPES
from phoundry.flows.values import VALUE_TYPES, parse


def check_structure(draft: Draft, notes: Notes) -> None:
    """Sections, then inputs, outputs and nodes."""
    data = draft.document.data
    check_keys(notes, data, keys.FLOW, (), "a flow")
    for section in ("inputs", "outputs", "node_variants", "environment_variables"):
        if data.get(section) and not is_mapping(data[section]):
            _no_mapping(notes, section)
    for section in ("nodes", "additional_includes"):
        if data.get(section) and not is_list(data[section]):
            notes.error("FlowDefinitionError", f"`{section}` is no list.", section)
    for section, known in (("inputs", keys.INPUT), ("outputs", keys.OUTPUT)):
        content = data.get(section)
        for name, value in content.items() if is_mapping(content) else ():
            if is_mapping(value):
                _typed(notes, (section, name), value, known)
            else:
                _no_mapping(notes, section, name)
    _nodes(draft, notes)
    _chat(draft, notes)


def _typed(notes: Notes, at: Place, data: Mapping[str, Any], known: Collection[str]) -> None:
    """An input or output of the flow."""
    check_keys(notes, data, known, at, f"one of the {at[0]}")
    kind = data.get("type")
    if "type" not in data:
        notes.error("KeyError", f"`{at[0]}.{at[1]}` has no `type`.", *at, remedy=_words(None))
    elif kind not in VALUE_TYPES:
        message = f"'{kind}' is not a valid ValueType"
        notes.error("ValueError", message, *at, "type", remedy=_words(str(kind)))
    elif at[0] == "inputs" and data.get("default") not in (None, ""):
        try:
            parse(str(kind), data["default"])
        except (ValueError, TypeError, OverflowError, RecursionError):
            notes.error(
                "InputTypeError",
                f"The default of the input '{at[1]}' is no {kind}.",
                *at,
                "default",
                remedy="Correct it, or drop it so that every run must give the input.",
            )


def _words(word: str | None) -> str:
    near = nearest(word, VALUE_TYPES) if word else []
    return f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(VALUE_TYPES)}."


def _nodes(draft: Draft, notes: Notes) -> None:
    content = draft.document.data.get("nodes")
    for index, item in enumerate(content if is_list(content) else []):
        if not is_mapping(item):
            _no_mapping(notes, "nodes", index)
        elif item.get("name") in (None, ""):
            notes.error("FlowDefinitionError", "A node has no `name`.", "nodes", index)
        elif item.get("use_variants"):
            _variants(draft, notes, str(item["name"]), ("nodes", index))
    for body in draft.bodies:
        notes.lenient = not body.chosen
        _node(notes, body)
    notes.lenient = False


def _variants(draft: Draft, notes: Notes, name: str, at: Place) -> None:
    """A node that is written as variants has them, and its default one."""
    table = draft.document.data.get("node_variants")
    entry = table.get(name) if is_mapping(table) else None
    if not is_mapping(entry) or not is_mapping(entry.get("variants")):
        message = f"There are no variants of node '{name}'."
        remedy = f"Write them under node_variants.{name}.variants, or drop `use_variants`."
        notes.error("FlowDefinitionError", message, *at, node=name, remedy=remedy)
    elif str(entry.get("default_variant_id")) not in map(str, entry["variants"]):
        notes.error(
            "FlowDefinitionError",
            f"'{entry.get('default_variant_id')}' is no variant of node '{name}'.",
            *("node_variants", name, "default_variant_id"),
            node=name,
            remedy=f"There is {', '.join(map(str, entry['variants']))}.",
        )


def _node(notes: Notes, body: Body) -> None:
    check_keys(notes, body.data, keys.NODE, body.at, "a node", node=body.name)
    kind = body.data.get("type")
    if kind is not None and kind not in NODE_TYPES:
        near = nearest(str(kind), NODE_TYPES)
        remedy = f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(NODE_TYPES)}."
        message = f"'{kind}' is not a valid ToolType"
        notes.error("ValueError", message, *body.at, "type", node=body.name, remedy=remedy)
    if body.data.get("inputs") and not is_mapping(body.data["inputs"]):
        _no_mapping(notes, *body.at, "inputs", node=body.name)
    source = body.data.get("source")
    if source is None:
        return
    if not is_mapping(source):
        _no_mapping(notes, *body.at, "source", node=body.name)
    elif source.get("type") not in (None, *SOURCE_TYPES):
        notes.error(
            "FlowDefinitionError",
            f"'{source['type']}' is not a valid ToolSourceType",
            *(*body.at, "source", "type"),
            node=body.name,
            remedy=f"Use one of {', '.join(SOURCE_TYPES)}.",
        )


def _chat(draft: Draft, notes: Notes) -> None:
    """A chat asks one input and shows one output."""
    for section, flag in (("inputs", "is_chat_input"), ("outputs", "is_chat_output")):
        parts = draft.inputs if section == "inputs" else draft.outputs
        flagged = [name for name, item in parts.items() if item.get(flag) is True]
        for name in flagged[1:]:
            message = f"`{flag}` is set on several {section}: {', '.join(flagged)}."
            notes.warning("ChatRoles", message, section, name, flag, remedy="Keep one of them.")


def _no_mapping(notes: Notes, *at: str | int, **more: Any) -> None:
    name = ".".join(map(str, at))
    notes.error("FlowDefinitionError", f"`{name}` holds no `key: value` lines.", *at, **more)
