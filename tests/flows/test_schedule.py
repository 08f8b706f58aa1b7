"""One line of a graph: order, concurrency, bypassing, failures, spans; against a slow reference."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoundry.flows.errors import FlowError, ToolExecutionError
from phoundry.flows.model import Activate, Node
from phoundry.flows.plan import make_plan
from phoundry.flows.reference import InputReference, Literal, NodeReference, Reference
from phoundry.flows.schedule import Line, Step, run_plan
from phoundry.flows.spans import recording
from phoundry.flows.workers import loop, workers

Call = Callable[[dict[str, Any]], Any]


def step(
    name: str,
    call: Call,
    needs: tuple[str, ...] = (),
    activate: Activate | None = None,
    quick: bool = False,
) -> Step:
    references: dict[str, Reference] = {need: NodeReference(need) for need in needs}
    node = Node(name, "python", None, references, activate)
    return Step(node, call, references, {}, quick=quick)


def run(*steps: Step, concurrency: int = 16, **inputs: Any) -> Line:
    line = Line(inputs)
    run_plan(make_plan(steps), line, concurrency)
    return line


def failing(message: str) -> Call:
    def call(arguments: dict[str, Any]) -> Any:
        raise ToolExecutionError(message)

    return call


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[str, tuple[str, ...], tuple[str, bool] | None]]:
    """Nodes with what they take and, for some, a condition on an earlier node or an input."""
    count = draw(st.integers(1, 9))
    found: list[tuple[str, tuple[str, ...], tuple[str, bool] | None]] = []
    for place in range(count):
        before = [name for name, _, _ in found]
        needs = tuple(draw(st.sets(st.sampled_from(before)))) if before else ()
        condition = None
        if draw(st.integers(0, 2)) == 0:
            condition = (draw(st.sampled_from(["yes", *before])), draw(st.booleans()))
        found.append((f"n{place}", tuple(sorted(needs)), condition))
    return draw(st.permutations(found))


def reference(graph: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Prompt flow's rules, as they are written down, one node after the other."""
    statuses: dict[str, str] = {}
    outputs: dict[str, Any] = {}
    for name, needs, condition in sorted(graph):  # n0 … n9: an order that holds
        bypassed = bool(needs) and all(statuses[need] == "Bypassed" for need in needs)
        if condition is not None:
            source, wanted = condition
            value = True if source == "yes" else outputs[source] is not None
            known = source == "yes" or statuses[source] != "Bypassed"
            bypassed = not known or value != wanted
        statuses[name] = "Bypassed" if bypassed else "Completed"
        outputs[name] = None if bypassed else [name, *(outputs[need] for need in needs)]
    return statuses, outputs


@settings(max_examples=150, deadline=None)
@given(graphs(), st.sampled_from([1, 2, 16]), st.booleans())
def test_any_graph_gives_what_the_rules_say(graph: Any, concurrency: int, quick: bool) -> None:
    def call_of(name: str, needs: tuple[str, ...]) -> Call:
        return lambda arguments: [name, *(arguments[need] for need in needs)]

    def condition_of(condition: tuple[str, bool] | None) -> Activate | None:
        if condition is None:
            return None
        source, wanted = condition
        if source == "yes":
            return Activate(InputReference("yes"), wanted)
        # A node's output is its list: compared with itself or with nothing like it.
        return Activate(NodeReference(source), Anything() if wanted else None)

    steps = [
        step(name, call_of(name, needs), needs, condition_of(condition), quick)
        for name, needs, condition in graph
    ]
    line = run(*steps, concurrency=concurrency, yes=True)
    assert (line.nodes, line.outputs) == reference(graph)


class Anything:
    """Equal to whatever there is."""

    def __eq__(self, other: object) -> bool:
        return other is not None

    def __hash__(self) -> int:
        return 0


def test_no_more_run_at_once_than_allowed() -> None:
    gate, lock, now, most = threading.Barrier(3), threading.Lock(), [0], [0]

    def call(arguments: dict[str, Any]) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        gate.wait(20)
        with lock:
            now[0] -= 1

    run(*(step(f"n{i}", call) for i in range(9)), concurrency=3)
    assert most == [3]


def test_after_a_failure_what_waits_never_starts_and_what_runs_is_left() -> None:
    started, release = [], threading.Event()

    def slow(arguments: dict[str, Any]) -> None:
        started.append("slow")
        release.wait(20)

    def fails(arguments: dict[str, Any]) -> None:
        raise ToolExecutionError("boom")

    line = Line({})
    plan = make_plan(
        [
            step("slow", slow),
            step("bad", fails),
            step("later", lambda arguments: started.append("later"), ("bad",)),
            step("third", lambda arguments: started.append("third"), ("slow",)),
        ]
    )
    with pytest.raises(ToolExecutionError, match="boom"):
        run_plan(plan, line)
    release.set()
    assert line.nodes == {"bad": "Failed"}
    assert "later" not in started
    assert "third" not in started


def test_async_tools_wait_for_each_other_on_one_thread() -> None:
    """Each of 40 goes on when all have begun, so all must run at once, whatever the threads."""

    threads: set[int] = set()
    begun: list[int] = []

    class Tool:
        def __call__(self, arguments: dict[str, Any]) -> Any:
            raise AssertionError("an async tool is not called in a thread")

        async def later(self, arguments: dict[str, Any]) -> int:
            threads.add(threading.get_ident())
            begun.append(1)
            while len(begun) < 40:
                await asyncio.sleep(0)
            return 1

    line = run(*(step(f"n{i}", Tool()) for i in range(40)), concurrency=64)
    assert sum(line.outputs.values()) == 40
    assert len(threads) == 1


def test_an_async_tool_that_fails_ends_the_line() -> None:
    class Tool:
        def __call__(self, arguments: dict[str, Any]) -> Any:
            raise AssertionError

        async def later(self, arguments: dict[str, Any]) -> int:
            raise ToolExecutionError("later")

    with pytest.raises(FlowError, match="later"):
        run(step("a", Tool()), step("b", Tool()))


def test_nodes_leave_spans_with_what_went_in_and_came_out() -> None:
    activate = Activate(Literal(1), 2)
    with recording() as found:
        run(
            step("a", lambda arguments: 1),
            step("b", lambda arguments: arguments["a"] + 1, ("a",)),
            step("off", lambda arguments: 1, (), activate),
        )
    spans = {span.name: span for span in found.spans}
    assert spans["b"].attributes == {"inputs": {"a": 1}, "output": 2, "status": "Completed"}
    assert spans["off"].attributes == {"status": "Bypassed"}
    assert spans["a"].start <= spans["a"].end <= spans["b"].start


@pytest.mark.parametrize("others", [0, 3])
def test_a_failed_nodes_span_says_so(others: int) -> None:
    with recording() as found, pytest.raises(FlowError):
        run(step("bad", failing("boom")), *(step(f"n{i}", lambda _: 1) for i in range(others)))
    [span] = [span for span in found.spans if span.name == "bad"]
    assert span.error == ("ToolExecutionError", "boom")
    assert span.attributes["status"] == "Failed"


def test_a_coroutine_is_waited_for_from_any_thread_and_from_the_loop() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 7

    async def asks_again() -> int:
        return loop().run(answer())

    assert loop().run(answer()) == 7
    assert loop().run(asks_again()) == 7


def test_threads_are_used_again() -> None:
    seen: list[threading.Thread] = []
    done = threading.Semaphore(0)

    def work() -> None:
        seen.append(threading.current_thread())
        done.release()

    # A thread is free a moment after its work has told that it is done.
    until = time.monotonic() + 20
    while len(set(seen)) == len(seen) and time.monotonic() < until:
        workers().submit(work)
        assert done.acquire(timeout=20)
        time.sleep(0.05)
    assert len(set(seen)) < len(seen)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_makes_its_own_threads() -> None:
    run(step("a", lambda _: 1), step("b", lambda _: 1))
    child = os.fork()
    if child == 0:
        well = False
        try:
            well = run(step("a", lambda _: 1), step("b", lambda _: 2)).outputs == {"a": 1, "b": 2}
        finally:
            os._exit(0 if well else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
