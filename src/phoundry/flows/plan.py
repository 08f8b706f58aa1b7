"""A graph worked out once: the order, who follows whom, where each argument comes from, and which
nodes may be bypassed at all. A run then only reads."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phoundry.flows.model import Node
from phoundry.flows.reference import (
    InputReference,
    Literal,
    NodeReference,
    Reference,
    resolve,
    walk,
)
from phoundry.flows.schedule import Line, Step

if TYPE_CHECKING:
    from phoundry.flows.extensions.keys import OnError

Get = Callable[[Line], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A step as the schedule wants it. `followers` are places in `Plan.tasks`; `bypass` is None
    where the node can never be bypassed; `later` is the call of an async tool as a coroutine.
    `stands_for` are the nodes whose output this one's becomes when it runs."""

    name: str
    call: Callable[[dict[str, Any]], Any]
    arguments: Callable[[Line], dict[str, Any]]
    bypass: Callable[[Line], bool] | None
    followers: tuple[int, ...]
    quick: bool
    later: Callable[[dict[str, Any]], Coroutine[Any, Any, Any]] | None = None
    on_error: OnError | None = None
    stands_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """`tasks` in an order in which each comes after what it needs; `needs` counts them;
    `sequential` when no two can ever run at once, or running them so would gain nothing."""

    tasks: tuple[Task, ...]
    needs: list[int] = field(default_factory=list[int])
    first: tuple[Task, ...] = ()
    sequential: bool = True


def make_plan(steps: Sequence[Step]) -> Plan:
    """The plan of `steps`, whose graph has no circle."""
    ordered = _ordered(steps)
    places = {step.node.name: place for place, step in enumerate(ordered)}
    dependencies = [step.node.dependencies & places.keys() for step in ordered]
    followers: list[list[int]] = [[] for _ in ordered]
    for place, needs in enumerate(dependencies):
        for name in needs:
            followers[places[name]].append(place)
    skippable: set[str] = set()
    stands_for = _stand_ins([step.node for step in ordered])
    tasks: list[Task] = []
    for place, step in enumerate(ordered):
        bypass = _bypass(step.node, skippable)
        if bypass is not None:
            skippable.add(step.node.name)
        tasks.append(
            Task(
                step.node.name,
                step.call,
                _arguments(step, skippable),
                bypass,
                tuple(followers[place]),
                step.quick,
                getattr(step.call, "later", None),
                step.node.extensions.on_error,
                stands_for.get(step.node.name, ()),
            )
        )
    needs = [len(found) for found in dependencies]
    return Plan(
        tuple(tasks),
        needs,
        tuple(task for task, count in zip(tasks, needs, strict=True) if not count),
        all(task.quick for task in tasks) or _one_after_another(needs, followers),
    )


def _ordered(steps: Sequence[Step]) -> list[Step]:
    """Each after what it needs, otherwise in the file's order."""
    names = {step.node.name for step in steps}
    waiting = {step.node.name: step.node.dependencies & names for step in steps}
    followers: dict[str, list[Step]] = {name: [] for name in names}
    for step in steps:
        for name in waiting[step.node.name]:
            followers[name].append(step)
    ordered = [step for step in steps if not waiting[step.node.name]]
    for done in ordered:  # grows while it is walked
        for step in followers[done.node.name]:
            waiting[step.node.name].discard(done.node.name)
            if not waiting[step.node.name]:
                ordered.append(step)
    return ordered


def _one_after_another(needs: list[int], followers: list[list[int]]) -> bool:
    """Whether at every point exactly one node is ready."""
    missing = needs.copy()
    ready = [place for place, count in enumerate(missing) if not count]
    while ready:
        if len(ready) > 1:
            return False
        done, ready = ready[0], []
        for follower in followers[done]:
            missing[follower] -= 1
            if not missing[follower]:
                ready.append(follower)
    return True


def _stand_ins(nodes: Sequence[Node]) -> dict[str, tuple[str, ...]]:
    """By standby: the node it stands by for, and the one that node stands by for, and so on."""
    standby_for = {
        node.name: node.extensions.standby_for for node in nodes if node.extensions.standby_for
    }
    found: dict[str, tuple[str, ...]] = {}
    for name in standby_for:
        chain: list[str] = []
        stands: str | None = standby_for[name]
        while stands is not None and stands not in chain:
            chain.append(stands)
            stands = standby_for.get(stands)
        found[name] = tuple(chain)
    return found


def getter(reference: Reference) -> Get:
    """What reads `reference` from a line, with the errors of `resolve`."""
    match reference:
        case Literal(value):
            return lambda line: value
        case InputReference(name):

            def read(line: Line) -> Any:
                try:
                    return line.inputs[name]
                except KeyError:
                    return resolve(reference, line.inputs, line.outputs)

            return read
        case NodeReference(node, "output", ""):
            return lambda line: line.outputs.get(node)
        case NodeReference(node, "output", path):
            return lambda line: walk(node, line.outputs.get(node), path)
        case _:
            return lambda line: resolve(reference, line.inputs, line.outputs)


def _arguments(step: Step, skippable: set[str]) -> Callable[[Line], dict[str, Any]]:
    """What makes the arguments of a call; a bypassed input is None or left to its default."""
    constants = dict(step.constants)
    always: list[tuple[str, Get]] = []
    sometimes: list[tuple[str, Get, str]] = []
    for name, reference in step.arguments.items():
        if isinstance(reference, NodeReference) and reference.node in skippable:
            sometimes.append((name, getter(reference), reference.node))
        else:
            always.append((name, getter(reference)))
    if not sometimes:

        def plain(line: Line) -> dict[str, Any]:
            found = constants.copy()
            for name, get in always:
                found[name] = get(line)
            return found

        return plain
    order = tuple(step.arguments)
    getters = dict(always)
    sources: Mapping[str, tuple[Get, str]] = {name: (get, node) for name, get, node in sometimes}

    def careful(line: Line) -> dict[str, Any]:
        found = constants.copy()
        for name in order:
            if name in getters:
                found[name] = getters[name](line)
                continue
            get, node = sources[name]
            if line.nodes.get(node) != "Bypassed":
                found[name] = get(line)
            elif name not in step.defaults:
                found[name] = None
        return found

    return careful


def _bypass(node: Node, skippable: set[str]) -> Callable[[Line], bool] | None:
    """Prompt flow's order: a bypassed condition, then the condition, then the dependencies."""
    own = _condition(node, skippable)
    if own is None:
        own = _dependencies(node, skippable)
    stands = node.extensions.standby_for
    over = node.extensions.foreach.over if node.extensions.foreach else None
    if stands is None and not (isinstance(over, NodeReference) and over.node in skippable):
        return own

    def bypass(line: Line) -> bool:
        if stands is not None and line.nodes.get(stands) != "Failed":
            return True
        # There is no list to go through.
        if isinstance(over, NodeReference) and line.nodes.get(over.node) == "Bypassed":
            return True
        return own is not None and own(line)

    return bypass


def _condition(node: Node, skippable: set[str]) -> Callable[[Line], bool] | None:
    condition = node.extensions.condition
    if condition is not None:
        from phoundry.flows.extensions.conditions import UNKNOWN, met

        def unmet(line: Line) -> bool:
            def read(reference: Reference) -> Any:
                if isinstance(reference, NodeReference) and (
                    line.nodes.get(reference.node) == "Bypassed"
                ):
                    return UNKNOWN
                return resolve(reference, line.inputs, line.outputs)

            return met(condition, read) is not True

        return unmet
    if node.activate is None:
        return None
    when, value = node.activate.when, node.activate.value
    get = getter(when)
    if not isinstance(when, NodeReference) or when.node not in skippable:
        return lambda line: bool(get(line) != value)
    source = when.node
    return lambda line: line.nodes.get(source) == "Bypassed" or bool(get(line) != value)


def _dependencies(node: Node, skippable: set[str]) -> Callable[[Line], bool] | None:
    """Bypassed when all that it takes from nodes is; never when one of them can't be."""
    needs = {item.node for item in node.inputs.values() if isinstance(item, NodeReference)}
    if not needs or not needs <= skippable:
        return None
    names = tuple(needs)
    return lambda line: all(line.nodes.get(name) == "Bypassed" for name in names)
