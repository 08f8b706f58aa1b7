"""Nodes that run flows: another one, their own, and how deep."""

from __future__ import annotations

from itertools import pairwise

import pytest

from phoundry.errors import Conflict
from phoundry.flows import load_flow
from phoundry.flows.check import check_flow
from phoundry.flows.connections import wanted_connections
from phoundry.flows.errors import FlowDepthExceeded, FlowError
from phoundry.flows.executor import Executor, surroundings
from phoundry.flows.extensions import subflow
from phoundry.flows.extensions.subflow import MOST_DEEP, within
from phoundry.flows.prepare import Connections
from phoundry.flows.spans import recording
from tests.flows.conftest import Connections as Resolver
from tests.flows.conftest import MakeFlow, custom
from tests.flows.extensions.conftest import IMPORTS, Run, node

INNER = (
    "inputs: {n: {type: int}}\n"
    "outputs: {twice: {type: int, reference: '${double.output}'}}\n"
    "nodes:\n" + node("double", path="d.py", x="${inputs.n}")
)
FILES = {
    "inner/flow.dag.yaml": INNER,
    "inner/d.py": f"{IMPORTS}import factor_of_inner\n@tool\n"
    "def d(x):\n    return x * factor_of_inner.FACTOR\n",
    "inner/factor_of_inner.py": "FACTOR = 2\n",
}


def flow_node(
    name: str, path: str = "inner/flow.dag.yaml", more: str = "", **inputs: object
) -> str:
    return node(name, more, path, **inputs).replace("type: python", "type: flow")


def test_a_flow_in_a_flow(run: Run) -> None:
    outcome = run(
        flow_node("sub", n="${inputs.q}") + node("n", x="${sub.output.twice}"),
        files=FILES,
        given={"q": "4"},
    )
    assert outcome.output == {"o": 8}
    assert outcome.nodes == {"sub": "Completed", "sub.double": "Completed", "n": "Completed"}


def test_modules_of_the_same_name_do_not_meet(run: Run) -> None:
    says = f"{IMPORTS}import same_name\n@tool\ndef t(x):\n    return [x, same_name.WHOSE]\n"
    inner = INNER.replace("type: int, reference", "type: object, reference")
    files = {
        "inner/flow.dag.yaml": inner,
        "inner/d.py": says,
        "inner/same_name.py": "WHOSE = 'inner'\n",
        "same_name.py": "WHOSE = 'outer'\n",
        "says.py": says,
    }
    nodes = (
        node("first", path="says.py", x=0)
        + flow_node("sub", n=1)
        + node("n", path="says.py", x="${sub.output.twice}")
    )
    outcome = run(nodes, files=files)
    assert outcome.output == {"o": [[1, "inner"], "outer"]}


def test_its_spans_lie_within_the_nodes(run: Run) -> None:
    with recording() as found:
        run(flow_node("n", n=4), files=FILES)
    by_id = {span.id: span for span in found.spans}
    double = next(span for span in found.spans if span.name == "double")
    path = []
    at = double.parent
    while at is not None:
        path.append((by_id[at].kind, by_id[at].name))
        at = by_id[at].parent
    assert path == [("flow", "inner"), ("node", "n"), ("flow", "flow")]


def test_a_failure_within_keeps_its_codes(run: Run) -> None:
    outcome = run(flow_node("n", n="four"), files=FILES)
    assert outcome.error is not None
    assert outcome.error.codes[-1] == "InputTypeError"
    assert outcome.error.message.startswith("In the flow of 'n': ")
    assert outcome.nodes == {"n": "Failed"}


def test_for_each_item(run: Run) -> None:
    more = "  foreach: {over: [1, 2, 3]}\n"
    outcome = run(flow_node("n", more=more, n="${item}"), files=FILES)
    assert outcome.output == {"o": [{"twice": 2}, {"twice": 4}, {"twice": 6}]}


def test_a_fault_within_is_found_before_the_run(run: Run) -> None:
    broken = {**FILES, "inner/d.py": "x = 1\n"}
    with pytest.raises(FlowError, match=r"Tool load failed in 'n'.*No tool found") as caught:
        run(flow_node("n", n=1), files=broken)
    assert caught.value.codes[-1] == "NoToolDefined"


def test_a_file_that_is_not_there(run: Run) -> None:
    with pytest.raises(FlowError, match=r"'other/flow\.dag\.yaml' is invalid") as caught:
        run(flow_node("n", "other/flow.dag.yaml"))
    assert caught.value.codes[-1] == "InvalidSource"


def test_variables_that_only_the_inner_flow_sets(run: Run) -> None:
    inner = f"environment_variables: {{PHOUNDRY_TEST_INNER: 1}}\n{INNER}"
    with pytest.raises(FlowError, match="PHOUNDRY_TEST_INNER, and a process has one environment"):
        run(flow_node("n", n=1), files={**FILES, "inner/flow.dag.yaml": inner})


# Counts down: one less each time, until a condition ends it.
COUNT = (
    node("less", x="${inputs.q}")
    + flow_node(
        "again",
        "flow.dag.yaml",
        "  activate: {when: '${less.output}', greater_than: 0}\n",
        q="${less.output}",
    )
    + node("n", path="n.py", own="${less.output}", rest="${again.output.o}")
).replace("${again.output.o}", "${again.output}")
COUNT_FILES = {
    "n.py": f"{IMPORTS}@tool\ndef n(own, rest=None):\n"
    "    return [own, *(rest['o'] if rest else [])]\n"
}
LESS = "def t(x):\n    return x - 1\n"


def test_a_flow_that_calls_itself(run: Run) -> None:
    outcome = run(COUNT, LESS, files=COUNT_FILES, given={"q": 5})
    assert outcome.error is None
    assert outcome.output == {"o": [4, 3, 2, 1, 0]}
    assert outcome.nodes["again"] == "Completed"


def test_without_an_end_it_is_stopped_with_the_depth(run: Run) -> None:
    outcome = run(COUNT, LESS, files=COUNT_FILES, given={"q": 10_000})
    assert outcome.error is not None
    assert outcome.error.codes[-1] == "FlowDepthExceeded"
    assert f"within {MOST_DEEP} others" in outcome.error.message


ASKING = "inputs: {}\noutputs: {o: {type: string, reference: '${ask.output}'}}\nnodes:\n" + node(
    "ask", path="ask.py"
)
ASK = (
    f"{IMPORTS}from promptflow.connections import CustomConnection\n@tool\n"
    "def ask(c: CustomConnection):\n    return c.key\n"
)


def test_an_inner_flow_takes_connections_by_the_nodes_name(make_flow: MakeFlow) -> None:
    yaml = "inputs: {}\noutputs: {o: {type: object, reference: '${n.output}'}}\nnodes:\n"
    files = {"inner/flow.dag.yaml": ASKING, "inner/ask.py": ASK}
    flow = load_flow(
        make_flow({"flow.dag.yaml": yaml + flow_node("n"), **files, "unused.py": IMPORTS})
    )
    there = Resolver(custom("one", key="1"), custom("two", key="2"))
    assert flow.using(there, {"n.ask.c": "two"})() == {"o": {"o": "2"}}
    with pytest.raises(Conflict, match=r"Several connections fit n\.ask\.c"):
        flow.using(there)


def test_a_flow_that_calls_itself_keeps_its_connections(make_flow: MakeFlow) -> None:
    yaml = (
        "inputs: {q: {type: int, default: 1}}\n"
        "outputs:\n  o: {type: string, reference: '${ask.output}'}\n"
        "  deep: {type: object, reference: '${again.output}'}\nnodes:\n"
        + node("ask", path="ask.py")
        + flow_node("again", "flow.dag.yaml", "  activate: {when: '${inputs.q}', is: 1}\n", q=0)
    )
    flow = load_flow(make_flow({"flow.dag.yaml": yaml, "ask.py": ASK}))
    found = flow.using(Resolver(custom("only", key="k")))()
    assert found == {"o": "k", "deep": {"o": "k", "deep": None}}


def test_connections_of_the_inner_flow() -> None:
    found = within(
        Connections({"n.ask.connection": "a", "n.x": "b", "m.ask.connection": "c"}, {"a": {}}), "n"
    )
    assert found.chosen == {"ask.connection": "a", "x": "b"}
    assert found.values == {"a": {}}


def chain(depth: int, width: int) -> dict[str, str]:
    """Files of flows, each of which runs the next one `width` times."""
    names = ["flow.dag.yaml", *(f"f{number}.yaml" for number in range(1, depth))]
    return {
        name: "nodes:\n" + "".join(flow_node(f"n{place}", following) for place in range(width))
        for name, following in pairwise(names)
    } | {names[-1]: "nodes: []\n"}


@pytest.mark.parametrize(("depth", "width"), [(22, 1), (20, 2)])
def test_flows_that_open_others_without_end_are_refused(
    make_flow: MakeFlow, monkeypatch: pytest.MonkeyPatch, depth: int, width: int
) -> None:
    """Twenty small files stood for a million flows, and the check of them did not end."""
    monkeypatch.setattr(subflow, "MOST_DEEP", 20)
    monkeypatch.setattr(subflow, "MOST_OPENED", 30)
    folder = make_flow(chain(depth, width))
    flow = load_flow(folder)
    with pytest.raises(FlowDepthExceeded, match="too many"):
        wanted_connections(flow)
    with surroundings(flow), pytest.raises(FlowDepthExceeded, match="too many"):
        Executor(flow)
    found = check_flow(folder)
    assert "FlowDepthExceeded" in [item.code for item in found.findings]


def test_an_inner_flow_imports_what_it_includes(run: Run) -> None:
    files = {
        "inner/flow.dag.yaml": f"additional_includes: [../shared_for_inner]\n{INNER}",
        "inner/d.py": f"{IMPORTS}from shared_for_inner.factor import FACTOR\n@tool\n"
        "def d(x):\n    return x * FACTOR\n",
        "shared_for_inner/factor.py": "FACTOR = 3\n",
    }
    assert run(flow_node("n", n=2), files=files).output == {"o": {"twice": 6}}
    elsewhere = {name.replace("shared", "lib/shared"): text for name, text in files.items()}
    elsewhere["inner/flow.dag.yaml"] = f"additional_includes: [../lib/shared_for_inner]\n{INNER}"
    assert run(flow_node("n", n=2), files=elsewhere).output == {"o": {"twice": 6}}


@pytest.mark.parametrize(
    "more",
    [
        "  on_error: {value: 0}\n",
        "  retry: {max_attempts: 3, delay: 0}\n",
        "  foreach: {over: [1, 2], concurrency: 2, on_error: skip}\n",
    ],
)
def test_nothing_goes_on_after_the_deepest_flow(
    run: Run, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """With two such nodes a flow ran two to the power of fifty times."""
    monkeypatch.setattr(subflow, "MOST_AT_ONCE", 10)
    nodes = "".join(flow_node(name, "flow.dag.yaml", more, q=1) for name in ("n", "m"))
    outcome = run(nodes)
    assert outcome.error is not None
    assert outcome.error.code == "FlowDepthExceeded"
