"""Runs in this process: order, bypass, concurrency, aggregation, outputs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from phoundry.flows import FlowError, load_flow, spans
from phoundry.flows.executor import Executor, surroundings
from phoundry.flows.runner import Outcome
from phoundry.flows.spans import recording, span
from tests.flows.conftest import Connections, MakeFlow, custom

HEAD = "from promptflow.core import tool, log_metric\n"


def node(name: str, path: str = "t.py", more: str = "", **inputs: str) -> str:
    values = ", ".join(f"{key}: {value!r}" for key, value in inputs.items())
    return (
        f"- name: {name}\n  type: python\n  source: {{type: code, path: {path}}}\n"
        f"  inputs: {{{values}}}\n{more}"
    )


def run(
    make_flow: MakeFlow, yaml: str, inputs: dict[str, Any] | None = None, **files: str
) -> Outcome:
    named = {f"{name}.py": HEAD + text for name, text in files.items()}
    flow = load_flow(make_flow({"flow.dag.yaml": yaml, **named}))
    with surroundings(flow):
        return Executor(flow).run(inputs or {})


def test_nodes_that_do_not_wait_for_each_other_run_at_once(make_flow: MakeFlow) -> None:
    """Four tools meet at a barrier that only lets all of them through."""
    tool = (
        "import threading, builtins\n"
        "if not hasattr(builtins, '_barrier'): builtins._barrier = threading.Barrier(4)\n"
        "@tool\ndef t(x):\n    builtins._barrier.wait(timeout=20)\n    return x\n"
    )
    nodes = "".join(node(f"n{i}", x=str(i)) for i in range(4))
    nodes += node("last", "sum.py", **{f"x{i}": f"${{n{i}.output}}" for i in range(4)})
    outcome = run(
        make_flow,
        f"outputs:\n  o: {{type: int, reference: '${{last.output}}'}}\nnodes:\n{nodes}",
        t=tool,
        sum="@tool\ndef s(**xs):\n    return sum(xs.values())\n",
    )
    assert outcome.error is None
    assert outcome.output == {"o": 6}
    del sys.modules["builtins"]._barrier  # type: ignore[attr-defined]


def test_the_first_failure_ends_the_run(make_flow: MakeFlow) -> None:
    nodes = node("a", "bad.py") + node("b", x="${a.output}") + node("c", x="${b.output}")
    outcome = run(
        make_flow,
        f"outputs: {{}}\nnodes:\n{nodes}",
        t="@tool\ndef t(x):\n    return x\n",
        bad="@tool\ndef t():\n    {}['gone']\n",
    )
    assert outcome.error is not None
    assert outcome.error.codes == ["UserError", "ToolExecutionError"]
    assert str(outcome.error) == "Execution failure in 'a': (KeyError) 'gone'"
    assert outcome.nodes == {"a": "Failed"}
    assert outcome.error.details is not None
    assert outcome.error.details["lineno"] == 4
    assert outcome.error.details["traceback"].count("File") == 1


def test_bypass_spreads_and_stops_where_a_condition_is_met(make_flow: MakeFlow) -> None:
    nodes = (
        node("a", more="  activate: {when: '${inputs.go}', is: true}\n")
        + node("b", x="${a.output}")
        + node("c", x="${b.output}", more="  activate: {when: '${inputs.go}', is: false}\n")
        + node("d", more="  activate: {when: '${a.output}', is: null}\n")
        + node("e", x="${b.output}", y="${c.output}")
    )
    yaml = (
        "inputs:\n  go: {type: bool}\noutputs:\n  o: {type: list, reference: '${e.output}'}\n"
        f"nodes:\n{nodes}"
    )
    outcome = run(make_flow, yaml, {"go": False}, t="@tool\ndef t(x=7, y=8):\n    return [x, y]\n")
    assert outcome.nodes == {
        "a": "Bypassed",
        "b": "Bypassed",
        "c": "Completed",  # its condition is met although all it depends on is bypassed
        "d": "Bypassed",  # its condition refers to a bypassed node
        "e": "Completed",
    }
    assert outcome.output == {"o": [7, [7, 8]]}


def test_aggregation_sees_lists_and_logs_metrics(make_flow: MakeFlow) -> None:
    nodes = node("n", x="${inputs.v}") + node(
        "g",
        "g.py",
        more="  aggregation: true\n",
        xs="${n.output}",
        deep="${n.output.k}",
        vs="${inputs.v}",
        k="3",
    )
    yaml = (
        "inputs:\n  v: {type: int}\noutputs:\n  o: {type: object, reference: '${n.output}'}\n"
        f"  dropped: {{type: int, reference: '${{g.output}}'}}\nnodes:\n{nodes}"
    )
    outcome = run(
        make_flow,
        yaml,
        {"v": 4},
        t="@tool\ndef t(x):\n    return {'k': x}\n",
        g="@tool\ndef g(xs, deep, vs, k):\n"
        "    assert xs == [{'k': 4}] and deep == [4] and vs == [4] and k == 3\n"
        "    log_metric('total', sum(vs))\n",
    )
    assert outcome.error is None
    assert outcome.output == {"o": {"k": 4}}
    assert outcome.metrics == {"total": 4.0}
    assert outcome.nodes == {"n": "Completed", "g": "Completed"}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("async def t():\n    import asyncio\n    await asyncio.sleep(0)\n    return 5\n", 5),
        ("def t():\n    yield 'a'\n    yield 1\n", "a1"),
        ("async def t():\n    yield 'a'\n    yield 'b'\n", "ab"),
    ],
)
def test_async_tools_and_generators(make_flow: MakeFlow, body: str, found: Any) -> None:
    yaml = f"outputs:\n  o: {{type: object, reference: '${{n.output}}'}}\nnodes:\n{node('n')}"
    assert run(make_flow, yaml, t=f"@tool\n{body}").output == {"o": found}


def test_surroundings_are_left_as_they_were(make_flow: MakeFlow) -> None:
    yaml = (
        "environment_variables:\n  PHOUNDRY_TEST_A: [1, 2]\n  PHOUNDRY_TEST_B: true\n"
        f"outputs:\n  o: {{type: list, reference: '${{n.output}}'}}\nnodes:\n{node('n')}"
    )
    folder, path = Path.cwd(), list(sys.path)
    tool = (
        "import os, helper_of_this_flow\n@tool\ndef t():\n"
        "    return [os.environ['PHOUNDRY_TEST_A'], os.environ['PHOUNDRY_TEST_B'], os.getcwd()]\n"
    )
    flow_folder = make_flow(
        {"flow.dag.yaml": yaml, "t.py": HEAD + tool, "helper_of_this_flow.py": ""}
    )
    assert load_flow(flow_folder)() == {"o": ["[1, 2]", "True", str(flow_folder)]}
    assert (Path.cwd(), sys.path) == (folder, path)
    assert "PHOUNDRY_TEST_A" not in os.environ
    assert not {"promptflow", "helper_of_this_flow"} & set(sys.modules)
    assert not list(flow_folder.rglob("__pycache__"))


def test_a_flow_called_with_connections(make_flow: MakeFlow) -> None:
    tool = (
        "from promptflow.connections import CustomConnection\n@tool\n"
        "def t(c: CustomConnection):\n    return [c.key, c['key'], c.secrets['key'], str(c)]\n"
    )
    yaml = f"outputs:\n  o: {{type: list, reference: '${{n.output}}'}}\nnodes:\n{node('n')}"
    flow = load_flow(make_flow({"flow.dag.yaml": yaml, "t.py": HEAD + tool}))
    [direct, item, secret, shown] = flow.using(Connections(custom("mine", key="canary")))()["o"]
    assert direct == item == secret == "canary"
    assert "canary" not in shown
    with pytest.raises(FlowError, match=r"--connections n\.c=NAME"):
        flow()


def test_an_environment_variable_takes_a_connections_key(make_flow: MakeFlow) -> None:
    yaml = (
        "environment_variables: {FROM_IT: '${mine.key}'}\n"
        f"outputs:\n  o: {{type: string, reference: '${{n.output}}'}}\nnodes:\n{node('n')}"
    )
    tool = HEAD + "import os\n@tool\ndef t():\n    return os.environ['FROM_IT']\n"
    flow = load_flow(make_flow({"flow.dag.yaml": yaml, "t.py": tool}))
    assert flow.using(Connections(custom("mine", key="canary")))() == {"o": "canary"}
    with pytest.raises(FlowError, match="phoundry connection show mine"):
        flow.using(Connections(custom("mine", other="x")))()


def test_a_failed_flow_raises_when_it_is_called(make_flow: MakeFlow) -> None:
    yaml = f"outputs:\n  o: {{type: object, reference: '${{n.output}}'}}\nnodes:\n{node('n')}"
    flow = load_flow(
        make_flow({"flow.dag.yaml": yaml, "t.py": HEAD + "@tool\ndef t():\n    1/0\n"})
    )
    with pytest.raises(FlowError, match="ZeroDivisionError"):
        flow()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("async def t(x):\n    await asyncio.gather(leave(), asyncio.sleep(0))\n", "SystemExit"),
        ("async def t(x):\n    raise asyncio.CancelledError\n", "CancelledError"),
        ("async def t(x):\n    raise Odd('o')\n", "Odd"),
        ("def t(x):\n    raise Odd('o')\n", "Odd"),
    ],
)
@pytest.mark.parametrize("nodes", [1, 2])
def test_whatever_a_tool_raises_fails_its_node_and_the_next_run_goes_on(
    make_flow: MakeFlow, body: str, kind: str, nodes: int
) -> None:
    """`SystemExit` of a task stops an event loop; others are no `Exception`."""
    tool = (
        f"import asyncio\nclass Odd(BaseException): ...\nasync def leave(): exit(3)\n@tool\n{body}"
    )
    yaml = "outputs: {}\nnodes:\n" + "".join(node(f"n{i}", x="1") for i in range(nodes))
    for _ in range(2):
        outcome = run(make_flow, yaml, t=tool)
        assert outcome.error is not None
        assert (outcome.error.details or {})["type"] == kind
        assert "Failed" in outcome.nodes.values()


def test_a_module_whose_error_can_not_be_shown_is_named(make_flow: MakeFlow) -> None:
    text = (
        "class Odd(BaseException):\n    def __str__(self): raise ValueError\nraise Odd\n"
        "@tool\ndef t(x): ...\n"
    )
    with pytest.raises(FlowError, match="Odd whose text can't be made"):
        run(make_flow, "outputs: {}\nnodes:\n" + node("n"), t=text)


def test_a_span_lets_an_error_pass_that_can_not_be_shown() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise ValueError

    with recording() as found, pytest.raises(Odd), span("function", "f"):
        raise Odd
    assert found.spans[0].error == ("Odd", "<Odd whose text can't be made>")


@pytest.mark.parametrize("variable", ["A=B: 1", "'': 1", 'A: "a\\0b"', 'A: "\\ud800"'])
def test_a_variable_that_can_not_be_is_named(make_flow: MakeFlow, variable: str) -> None:
    with pytest.raises(FlowError, match="can't be set"):
        run(make_flow, f"environment_variables: {{PHOUNDRY_TEST_A: 1, {variable}}}\nnodes: []\n")
    assert "PHOUNDRY_TEST_A" not in os.environ


def test_a_function_in_a_loop_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "MOST_FUNCTIONS", 5)
    with recording() as found, span("flow", "f") as whole:
        for _ in range(20):
            with span("function", "g"), span("model", "m"):
                pass
    assert whole is not None
    names = [item.name for item in found.spans]
    assert (names.count("m"), names.count("f")) == (20, 1)
    assert names.count("g") + whole.attributes["spans_left_out"] == 20
    known = {item.id for item in found.spans}
    assert all(item.parent in known for item in found.spans if item is not whole)
