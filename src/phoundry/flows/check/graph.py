"""References, order and use: what every value comes from, and whether anything comes of a node."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import islice

from phoundry.flows.check.draft import Body, Draft, reference
from phoundry.flows.check.finding import Notes
from phoundry.flows.circles import Needs, never_free, turned
from phoundry.flows.document import Place, is_list, is_mapping
from phoundry.flows.reference import InputReference, Literal, NodeReference, Reference
from phoundry.flows.topology import near_names

MOST_SHOWN = 20  # names that are listed
INSIDE = re.compile(r"\$\{[\w.\[\]']+\}")


def check_graph(draft: Draft, notes: Notes) -> None:
    """Duplicates, dangling references, circles, outputs; then what is of no use."""
    _duplicates(draft, notes)
    aggregating = {body.name for body in draft.bodies if body.aggregation}
    for body in draft.bodies:
        notes.lenient = not body.chosen
        for at, item in body.references:
            _reference(draft, notes, body, at, item)
        _literals(notes, body)
        _aggregation(notes, body, draft.nodes, aggregating)
    notes.lenient = False
    _circle(draft, notes)
    for name in draft.outputs:
        _output(draft, notes, name)
    _unused(draft, notes)
    _never(draft, notes)


def _duplicates(draft: Draft, notes: Notes) -> None:
    seen: set[str] = set()
    nodes = draft.document.data.get("nodes")
    for index, item in enumerate(nodes if is_list(nodes) else []):
        name = str(item.get("name") or "") if is_mapping(item) else ""
        if name and name in seen:
            notes.error(
                "DuplicateNodeName",
                f"There is more than one node with the name '{name}'.",
                *("nodes", index, "name"),
                node=name,
                remedy="Rename or remove one of them.",
            )
        seen.add(name)


def _reference(draft: Draft, notes: Notes, body: Body, at: Place, item: Reference) -> None:
    if isinstance(item, InputReference):
        if item.name not in draft.inputs and not _one_of(draft, "inputs", item.name):
            notes.error(
                # Prompt flow finds a condition's input during the run only.
                "InputReferenceNotFound" if "inputs" in at[2:] else "InputNotFound",
                f"Node '{body.name}' refers to the flow input '{item.name}', which is not there.",
                *at,
                node=body.name,
                remedy=_near(item.name, list(draft.inputs), "inputs"),
            )
    elif isinstance(item, NodeReference):
        if item.node not in draft.nodes:
            notes.error(
                "NodeReferenceNotFound",
                f"Node '{body.name}' refers to the node '{item.node}', which is not there.",
                *at,
                node=body.name,
                remedy=_near(item.node, draft.nodes, "nodes"),
            )
        elif item.section != "output":
            # A node that did not run is not asked for its output.
            tell = notes.warning if draft.named(item.node)[0].optional else notes.error
            tell(
                "UnsupportedReference",
                f"`{item}` names the section '{item.section}' of node '{item.node}'.",
                *at,
                node=body.name,
                remedy=f"Write ${{{item.node}.output}} or ${{{item.node}.output.KEY}}.",
            )


def _one_of(draft: Draft, section: str, name: str) -> bool:
    """Whether the file has it at all: a broken declaration is told once, where it stands."""
    content = draft.document.data.get(section)
    return is_mapping(content) and name in map(str, content)


def _literals(notes: Notes, body: Body) -> None:
    """`"hi ${inputs.x}"` is text: only a whole value is a reference."""
    for name, item in body.inputs.items():
        if isinstance(item, Literal) and isinstance(item.value, str):
            found = INSIDE.search(item.value)
            if found and not item.value.startswith("${env:"):
                notes.warning(
                    "EmbeddedReference",
                    f"`{found[0]}` stands inside other text, and stays as it is written.",
                    *(*body.at, "inputs", name),
                    node=body.name,
                    remedy="Give the reference alone, and join the text in the tool or template.",
                )


def _aggregation(
    notes: Notes, body: Body, names: Collection[str], aggregating: Collection[str]
) -> None:
    for at, item in body.references:
        if not isinstance(item, NodeReference) or item.node not in names:
            continue
        if not body.aggregation and item.node in aggregating:
            what = f"'{body.name}' runs for every line and can't refer to '{item.node}', which"
            message = f"Node {what} runs once after all lines."
        elif body.aggregation and "activate" in at and item.node not in aggregating:
            message = (
                f"The condition of the aggregation node '{body.name}' refers to '{item.node}', "
                "which runs for every line."
            )
        else:
            continue
        notes.error(
            "InvalidNodeReference",
            message,
            *at,
            node=body.name,
            remedy=f"Set `aggregation` on both of '{body.name}' and '{item.node}', or on neither.",
        )


def _circle(draft: Draft, notes: Notes) -> None:
    """The first circle, by the nodes in it."""
    needs = _needs(draft)
    # What merely follows a circle is not in it: nothing of it depends on that.
    waiting = never_free(turned(never_free(needs)))
    if not waiting:
        return
    names = sorted(waiting)
    body = draft.named(names[0])[0]
    at = next(
        (
            place
            for place, item in body.references
            if isinstance(item, NodeReference) and item.node in waiting
        ),
        body.at,
    )
    notes.error(
        "NodeCircularDependency",
        f"The nodes {', '.join(names)} wait for each other.",
        *at,
        node=names[0],
        remedy="Take one of the references between them away.",
    )


def _needs(draft: Draft) -> Needs:
    """The nodes that each node, in any of its variants, refers to."""
    needs: Needs = {name: set() for name in draft.nodes}
    for body in draft.bodies:
        found = (item for _, item in body.references)
        needs[body.name] |= {item.node for item in found if isinstance(item, NodeReference)}
    return needs


def _output(draft: Draft, notes: Notes, name: str) -> None:
    written = draft.outputs[name].get("reference", "")  # written as null, it is null
    at = ("outputs", name, "reference")
    match reference(written):
        case Literal(""):
            notes.error(
                "EmptyOutputReference",
                f"The output '{name}' refers to nothing.",
                *at,
                remedy="Write `reference: ${NODE.output}`.",
            )
        case Literal(value) if not str(value).startswith("${"):
            notes.warning(
                "ConstantOutput",
                f"The output '{name}' is always {value!r}.",
                *at,
                remedy="Write `reference: ${NODE.output}` for what a node gives.",
            )
        case InputReference(wanted) if not _one_of(draft, "inputs", wanted):
            remedy = _near(wanted, list(draft.inputs), "inputs")
            message = f"The output '{name}' refers to the input '{wanted}', which is not there."
            notes.error("OutputReferenceNotFound", message, *at, remedy=remedy)
        case NodeReference(wanted) if wanted not in draft.nodes:
            remedy = _near(wanted, draft.nodes, "nodes")
            message = f"The output '{name}' refers to the node '{wanted}', which is not there."
            notes.error("OutputReferenceNotFound", message, *at, remedy=remedy)
        case _:
            pass


def _used_nodes(draft: Draft) -> set[str]:
    """The nodes that an output or an aggregation depends on, however far."""
    needs = _needs(draft)
    pending = [body.name for body in draft.bodies if body.aggregation]
    for item in draft.outputs.values():
        found = reference(item.get("reference", ""))
        pending += [found.node] if isinstance(found, NodeReference) else []
    used: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in used:
            used.add(name)
            pending += needs.get(name, ())
    return used


def _unused(draft: Draft, notes: Notes) -> None:
    used = _used_nodes(draft)
    for name in draft.nodes:
        if name not in used:
            notes.warning(
                "UnusedNode",
                f"Nothing depends on the node '{name}': no output and no aggregation.",
                *draft.named(name)[0].at,
                node=name,
                remedy=f"Refer to ${{{name}.output}} in an output, or drop the node.",
            )
    read = {item.name for item in _all_references(draft) if isinstance(item, InputReference)}
    for name, item in draft.inputs.items():
        history = item.get("is_chat_history") or name == "chat_history"
        if name not in read and not history:
            notes.warning(
                "UnusedInput",
                f"Nothing uses the flow input '{name}'.",
                *("inputs", name),
                remedy=f"Refer to ${{inputs.{name}}}, or drop the input.",
            )


def _all_references(draft: Draft) -> Iterator[Reference]:
    for body in draft.bodies:
        for _, item in body.references:
            yield item
    for output in draft.outputs.values():
        yield reference(output.get("reference", ""))


def _never(draft: Draft, notes: Notes) -> None:
    """Nodes behind a condition that can't be met, and those that only they feed."""
    dead: set[str] = set()
    for body in draft.bodies:
        condition = body.data.get("activate")
        if is_mapping(condition) and {"when", "is"} <= set(condition):
            when = reference(condition["when"])
            if isinstance(when, Literal) and when.value != condition["is"]:
                dead.add(body.name)
    grown, all_needs = True, _needs(draft) if dead else {}
    while grown and dead:
        grown = False
        for body in draft.bodies:
            needs = all_needs[body.name]
            if body.name not in dead and needs and needs <= dead and "activate" not in body.data:
                dead.add(body.name)
                grown = True
    for name in sorted(dead):
        body = draft.named(name)[0]
        place = (*body.at, "activate") if "activate" in body.data else body.at
        message = f"The node '{name}' never runs: its condition can't be met."
        if "activate" not in body.data:
            message = f"The node '{name}' never runs: what it depends on never does."
        remedy = "Let `when` refer to an input or a node's output."
        notes.warning("UnreachableNode", message, *place, node=name, remedy=remedy)


def _near(name: str, known: Collection[str], what: str) -> str:
    near = near_names(name, known)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    if not known:
        return f"The flow has no {what}."
    more = f" and {len(known) - MOST_SHOWN:,} more" if len(known) > MOST_SHOWN else ""
    return f"There are the {what} {', '.join(islice(known, MOST_SHOWN))}{more}."
