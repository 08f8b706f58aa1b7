"""Fallback nodes: who stands by for whom, and who therefore waits for both.

A standby runs only when its node failed; whoever takes the node's output waits for the standby too,
because the output may be the standby's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from phoundry.errors import nearest
from phoundry.flows.document import Document
from phoundry.flows.errors import FlowDefinitionError, FlowError, NodeReferenceNotFound

if TYPE_CHECKING:
    from phoundry.flows.model import Node


def link(document: Document, nodes: Sequence[Node], errors: list[FlowError]) -> tuple[Node, ...]:
    """`nodes` with `standby_for` and `after` filled in; faults go to `errors`."""
    fallbacks = {
        node.name: node.extensions.on_error.node
        for node in nodes
        if node.extensions.on_error is not None and node.extensions.on_error.node is not None
    }
    if not fallbacks:
        return tuple(nodes)
    by_name = {node.name: node for node in nodes}
    standbys: dict[str, str] = {}
    for name, standby in fallbacks.items():
        fault = _fault(by_name[name], by_name.get(standby), standby, standbys, list(by_name))
        if fault is None:
            standbys[standby] = name
        else:
            fault.where = f"{document.file.name}:{by_name[name].line}"
            errors.append(fault)
    return tuple(
        replace(
            node,
            extensions=replace(
                node.extensions,
                standby_for=standbys.get(node.name),
                after=_after(node, standbys.get(node.name), fallbacks),
            ),
        )
        for node in nodes
    )


def _after(node: Node, stands_for: str | None, fallbacks: dict[str, str]) -> frozenset[str]:
    """The node it stands by for, and the standbys of all it waits for, and theirs."""
    waiting = [*([stands_for] if stands_for else [])]
    pending = [name for name in node.dependencies if name != node.name]
    while pending:
        standby = fallbacks.get(pending.pop())
        if standby is not None and standby != node.name and standby not in waiting:
            waiting.append(standby)
            pending.append(standby)
    return frozenset(waiting)


def _fault(
    node: Node, standby: Node | None, name: str, standbys: dict[str, str], known: list[str]
) -> FlowError | None:
    if standby is None:
        near = nearest(name, known)
        return NodeReferenceNotFound(
            f"Node '{node.name}' falls back to '{name}', which is no node of this flow.",
            remedy=f"Did you mean {' or '.join(near)}?" if near else "Name a node of this flow.",
        )
    if standby is node or node.name in standby.dependencies:
        return FlowDefinitionError(
            f"Node '{node.name}' falls back to '{name}', which takes the output that failed.",
            remedy="Give the fallback inputs of its own.",
        )
    if name in standbys:
        return FlowDefinitionError(
            f"Node '{name}' is the fallback of both '{standbys[name]}' and '{node.name}'.",
            remedy="Give each its own; two nodes may share one source file.",
        )
    if node.aggregation != standby.aggregation:
        return FlowDefinitionError(
            f"Of node '{node.name}' and its fallback '{name}' only one is an aggregation.",
            remedy="Both run over the lines, or neither.",
        )
    return None
