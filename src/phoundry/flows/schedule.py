"""Running the nodes of one line: what is ready runs, up to 16 at once, the first failure ends it.

A chain runs in the calling thread without a pool; threads are made only where two nodes can
really run at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Literal

from phoundry.flows.errors import FlowError
from phoundry.flows.model import Node
from phoundry.flows.reference import NodeReference, Reference, resolve

CONCURRENCY = 16
NodeStatus = Literal["Completed", "Bypassed", "Failed"]


@dataclass(frozen=True, slots=True)
class Step:
    """A node made ready: `call` takes its arguments, `constants` are connections and the like."""

    node: Node
    call: Callable[[dict[str, Any]], Any]
    arguments: Mapping[str, Reference]
    constants: Mapping[str, Any]
    # Parameters with a default of their own, which a bypassed input leaves to it.
    defaults: frozenset[str] = frozenset()


@dataclass(slots=True)
class Line:
    """The state of one run: outputs (None for a bypassed node) and statuses by node."""

    inputs: Mapping[str, Any]
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    nodes: dict[str, NodeStatus] = field(default_factory=dict[str, NodeStatus])

    def bypassed(self, reference: Reference) -> bool:
        return isinstance(reference, NodeReference) and (
            self.nodes.get(reference.node) == "Bypassed"
        )

    def arguments(self, step: Step) -> dict[str, Any]:
        """What `step` is called with; a bypassed input is None or left to its default."""
        found = dict(step.constants)
        for name, reference in step.arguments.items():
            if not self.bypassed(reference):
                found[name] = resolve(reference, self.inputs, self.outputs)
            elif name not in step.defaults:
                found[name] = None
        return found

    def must_bypass(self, node: Node) -> bool:
        """Prompt flow's order: a bypassed condition, then the condition, then the dependencies."""
        if node.activate is not None:
            if self.bypassed(node.activate.when):
                return True
            when = resolve(node.activate.when, self.inputs, self.outputs)
            return bool(when != node.activate.value)
        needs = [item for item in node.inputs.values() if isinstance(item, NodeReference)]
        return bool(needs) and all(self.bypassed(item) for item in needs)


def run_steps(steps: Iterable[Step], line: Line) -> None:
    """Run `steps` into `line`.

    Raises:
        FlowError: of the first node that failed; its status is Failed.
    """
    waiting = {step.node.name: step for step in steps}
    missing = {name: step.node.dependencies & waiting.keys() for name, step in waiting.items()}
    followers: dict[str, list[str]] = {name: [] for name in waiting}
    for name, needs in missing.items():
        for need in needs:
            followers[need].append(name)
    _Runner(waiting, missing, followers, line).run()


@dataclass(slots=True)
class _Runner:
    waiting: dict[str, Step]
    missing: dict[str, set[str]]
    followers: dict[str, list[str]]
    line: Line
    running: dict[Future[Any], str] = field(default_factory=dict[Future[Any], str])
    pool: ThreadPoolExecutor | None = None

    def run(self) -> None:
        ready = [name for name, needs in self.missing.items() if not needs]
        try:
            while ready or self.running:
                if len(ready) == 1 and not self.running:
                    ready = self._inline(ready[0])
                else:
                    ready = self._side_by_side(ready)
        finally:
            if self.pool is not None:
                self.pool.shutdown(wait=False, cancel_futures=True)

    def _inline(self, name: str) -> list[str]:
        arguments = self._prepare(name)
        if arguments is not None:
            with _failing(self.line, name):
                self.line.outputs[name] = self.waiting[name].call(arguments)
            self.line.nodes[name] = "Completed"
        return self._release(name)

    def _side_by_side(self, ready: list[str]) -> list[str]:
        """Start what is ready, wait for one to end; the names that may start now."""
        freed: list[str] = []
        for name in ready:
            arguments = self._prepare(name)
            if arguments is None:
                freed += self._release(name)
                continue
            if self.pool is None:
                self.pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="node")
            task = self.pool.submit(copy_context().run, self.waiting[name].call, arguments)
            self.running[task] = name
        if freed or not self.running:
            return freed
        for task in wait(self.running, return_when=FIRST_COMPLETED).done:
            name = self.running.pop(task)
            with _failing(self.line, name):
                self.line.outputs[name] = task.result()
            self.line.nodes[name] = "Completed"
            freed += self._release(name)
        return freed

    def _prepare(self, name: str) -> dict[str, Any] | None:
        """The arguments of a node, or None when it is bypassed."""
        step = self.waiting[name]
        with _failing(self.line, name):
            if self.line.must_bypass(step.node):
                self.line.nodes[name] = "Bypassed"
                self.line.outputs[name] = None
                return None
            return self.line.arguments(step)

    def _release(self, name: str) -> list[str]:
        freed: list[str] = []
        for follower in self.followers[name]:
            self.missing[follower].discard(name)
            if not self.missing[follower]:
                freed.append(follower)
        return freed


class _failing:  # noqa: N801 - reads as a word: `with _failing(line, name)`
    """Mark the node as failed when the block raises a flow's error."""

    __slots__ = ("line", "name")

    def __init__(self, line: Line, name: str) -> None:
        self.line, self.name = line, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None and issubclass(kind, FlowError):
            self.line.nodes[self.name] = "Failed"
