"""Variants: one node written several ways, one of them chosen before the flow is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.document import Document, is_list, is_mapping
from phoundry.flows.errors import NoVariant, UnknownVariant


def apply_variants(document: Document, choice: str | None) -> None:
    """Put the chosen or default variant of every `use_variants` node in its place.

    Raises:
        UnknownVariant: no such node or variant; the nearest names are in the remedy.
        NoVariant: a table of variants that lacks `variants` or a variant's `node`.
    """
    node_name, variant = _split(choice)
    written: Any = document.data.get("node_variants")
    table = written if is_mapping(written) else {}
    if node_name is not None and node_name not in table:
        raise _unknown("node with variants", node_name, table, document)
    nodes: Any = document.data.get("nodes") or []
    for index, node in enumerate(nodes if is_list(nodes) else []):
        if not is_mapping(node) or not _varies(node, node_name):
            continue
        name = str(node.get("name"))
        entry = table.get(name)
        if not is_mapping(entry):
            raise _unknown("variants of node", name, table, document, index)
        wanted = str(variant if name == node_name else entry.get("default_variant_id"))
        node.clear()
        node.update({**_chosen(document, index, name, entry, wanted), "name": name})


def _chosen(
    document: Document, index: int, name: str, entry: Mapping[str, Any], wanted: str
) -> dict[str, Any]:
    """The node that the variant `wanted` of the node `name` describes."""
    known: Any = entry.get("variants")
    if not is_mapping(known):
        raise _incomplete(document, name, "variants")
    by_text: dict[str, Any] = {str(key): value for key, value in known.items()}  # `0:` is a number
    if wanted not in by_text:
        raise _unknown(f"variant of node '{name}'", wanted, by_text, document, index)
    described = by_text[wanted]
    described = described.get("node") if is_mapping(described) else None
    if not is_mapping(described):
        raise _incomplete(document, name, "variants", wanted, "node")
    return described


def _incomplete(document: Document, name: str, *at: str) -> NoVariant:
    return NoVariant(
        f"`{'.'.join(('node_variants', name, *at))}` is not there.",
        remedy="It needs variants.ID.node with the keys of a node.",
        where=document.where("node_variants", name, *at),
    )


def _varies(node: dict[str, Any], chosen: str | None) -> bool:
    return bool(node.get("use_variants")) or (chosen is not None and node.get("name") == chosen)


def _split(choice: str | None) -> tuple[str | None, str | None]:
    if choice is None:
        return None, None
    inner = choice.removeprefix("${").removesuffix("}")
    node, dot, variant = inner.partition(".")
    if not dot or not node or not variant:
        raise UnknownVariant(
            f"'{choice}' names no variant.", remedy="Write --variant '${node.variant}'."
        )
    return node, variant


def _unknown(
    noun: str, name: str, known: Mapping[str, Any], document: Document, index: int | None = None
) -> UnknownVariant:
    near = nearest(name, [str(key) for key in known]) or sorted(str(key) for key in known)
    where = document.where("nodes", index) if index is not None else document.where("node_variants")
    remedy = f"There is {', '.join(near)}." if near else "The file defines none."
    return UnknownVariant(f"There is no {noun} '{name}'.", remedy=remedy, where=where)
