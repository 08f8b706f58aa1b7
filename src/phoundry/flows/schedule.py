"""Running the nodes of one line: what is ready runs, up to 16 at once, the first failure ends it.

The order is worked out once a flow (`plan.py`). A graph where no two nodes can run at once needs
neither threads nor a queue; elsewhere nodes go to the process's threads, async ones to its loop,
and the line's own thread takes what comes back.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from phoundry.flows import spans
from phoundry.flows.errors import FlowDepthExceeded, FlowError
from phoundry.flows.model import Node
from phoundry.flows.reference import Reference
from phoundry.flows.workers import loop, workers

if TYPE_CHECKING:
    from phoundry.flows.plan import Plan, Task

CONCURRENCY = 16
NodeStatus = Literal["Completed", "Bypassed", "Failed"]
Answer = tuple["Task", Any, BaseException | None]


@dataclass(frozen=True, slots=True)
class Step:
    """A node made ready: `call` takes its arguments, `constants` are connections and the like.

    `quick` says that the call never waits for anything, so that a thread would only cost."""

    node: Node
    call: Callable[[dict[str, Any]], Any]
    arguments: Mapping[str, Reference]
    constants: Mapping[str, Any]
    # Parameters with a default of their own, which a bypassed input leaves to it.
    defaults: frozenset[str] = frozenset()
    quick: bool = False


@dataclass(slots=True)
class Line:
    """The state of one run: outputs (None for a bypassed node) and statuses by node."""

    inputs: Mapping[str, Any]
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    nodes: dict[str, NodeStatus] = field(default_factory=dict[str, NodeStatus])


@dataclass(frozen=True, slots=True)
class Nested:
    """What a node gives that ran nodes of its own: its output, and their statuses by name."""

    value: Any
    nodes: Mapping[str, NodeStatus]


def run_plan(plan: Plan, line: Line, concurrency: int = CONCURRENCY) -> None:
    """Run every node of `plan` into `line`, at most `concurrency` at once.

    Raises:
        FlowError: of the first node that failed; its status is Failed. Nodes that still run are
            left to themselves, those that wait never start.
    """
    recorded = spans.recorded()
    if plan.sequential or concurrency == 1:
        for task in plan.tasks:
            _run_here(task, line, recorded)
    else:
        _Lane(plan, line, concurrency, recorded).run()


def _run_here(task: Task, line: Line, recorded: bool) -> None:
    try:
        if task.bypass is not None and task.bypass(line):
            _bypassed(task, line, recorded)
            return
        arguments = task.arguments(line)
        value = _call_recorded(task, arguments) if recorded else task.call(arguments)
    except FlowError as error:
        _failed(task, line, error)
        return
    _completed(task, line, value)


def _call_recorded(task: Task, arguments: dict[str, Any]) -> Any:
    with spans.span("node", task.name, inputs=arguments, status="Failed") as it:
        value = task.call(arguments)
        if it is not None:
            it.attributes["output"] = value.value if type(value) is Nested else value
            it.attributes["status"] = "Completed"
    return value


def _bypassed(task: Task, line: Line, recorded: bool) -> None:
    line.nodes[task.name] = "Bypassed"
    line.outputs[task.name] = None
    if recorded:
        with spans.span("node", task.name, status="Bypassed"):
            pass


def _completed(task: Task, line: Line, value: Any) -> None:
    if type(value) is Nested:
        line.nodes.update({f"{task.name}.{name}": status for name, status in value.nodes.items()})
        value = value.value
    line.outputs[task.name] = value
    line.nodes[task.name] = "Completed"
    for name in task.stands_for:
        line.outputs[name] = value


def _failed(task: Task, line: Line, error: FlowError) -> None:
    """Note the failure; raise it unless the node says what stands in for its output. Flows that
    call each other without an end are stopped whatever their nodes say: each would go on."""
    line.nodes[task.name] = "Failed"
    if task.on_error is None or isinstance(error, FlowDepthExceeded):
        raise error
    line.outputs[task.name] = task.on_error.value
    if task.on_error.node is None:
        for name in task.stands_for:
            line.outputs[name] = task.on_error.value


class _Lane:
    """One run of a graph in which nodes can run side by side."""

    __slots__ = (
        "answers",
        "concurrency",
        "line",
        "missing",
        "plan",
        "ready",
        "recorded",
        "running",
    )

    def __init__(self, plan: Plan, line: Line, concurrency: int, recorded: bool) -> None:
        self.plan, self.line = plan, line
        self.concurrency, self.recorded = concurrency, recorded
        self.missing = plan.needs.copy()
        self.ready = deque(plan.first)
        self.running = 0
        self.answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()

    def run(self) -> None:
        while self.ready or self.running:
            while self.ready and self.running < self.concurrency:
                self._start(self.ready.popleft())
            if self.running:
                self._take(*self.answers.get())

    def _start(self, task: Task) -> None:
        alone = not self.ready and not self.running
        if task.quick or alone:
            _run_here(task, self.line, self.recorded)
            self._release(task)
            return
        try:
            if task.bypass is not None and task.bypass(self.line):
                _bypassed(task, self.line, self.recorded)
                self._release(task)
                return
            arguments = task.arguments(self.line)
        except FlowError as error:
            _failed(task, self.line, error)
            self._release(task)
            return
        self.running += 1
        if task.later is not None:
            coroutine = _later_recorded(task, arguments) if self.recorded else task.later(arguments)
            loop().start(coroutine, copy_context(), partial(_answer_later, task, self.answers))
        else:
            workers().submit(copy_context().run, self._work, task, arguments)

    def _work(self, task: Task, arguments: dict[str, Any]) -> None:
        try:
            value = _call_recorded(task, arguments) if self.recorded else task.call(arguments)
        except BaseException as error:  # noqa: BLE001 - raised again in the line's own thread
            self.answers.put((task, None, error))
        else:
            self.answers.put((task, value, None))

    def _take(self, task: Task, value: Any, error: BaseException | None) -> None:
        self.running -= 1
        if error is None:
            _completed(task, self.line, value)
        elif isinstance(error, FlowError):
            _failed(task, self.line, error)
        else:
            raise error
        self._release(task)

    def _release(self, task: Task) -> None:
        missing = self.missing
        for follower in task.followers:
            missing[follower] -= 1
            if not missing[follower]:
                self.ready.append(self.plan.tasks[follower])


async def _later_recorded(task: Task, arguments: dict[str, Any]) -> Any:
    assert task.later is not None  # noqa: S101 - the caller looked
    with spans.span("node", task.name, inputs=arguments, status="Failed") as it:
        value = await task.later(arguments)
        if it is not None:
            it.attributes.update(output=value, status="Completed")
    return value


def _answer_later(task: Task, answers: queue.SimpleQueue[Answer], ended: Any) -> None:
    if ended.cancelled():
        from phoundry.flows.tools.python import tool_failed

        answers.put((task, None, tool_failed(task.name, TimeoutError("the tool was cancelled"))))
        return
    error = ended.exception()
    answers.put((task, None, error) if error is not None else (task, ended.result(), None))
