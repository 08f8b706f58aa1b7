"""Many lines in a few processes: what a line does to its process stays its own affair."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.errors import PhoundryError
from phoundry.flows import load_flow
from phoundry.flows.prepare import Connections
from phoundry.flows.session.plain import PAYLOAD, as_text, is_plain
from phoundry.flows.session.pool import SessionPool
from phoundry.flows.session.result import LineResult
from tests.flows.conftest import MakeFlow
from tests.flows.test_session import CANARY, one_tool

OpenPool = Callable[..., SessionPool]
BODY = """\
print('line', q)
if q == 'raise': raise ValueError('bad ' + str(c))
if q == 'exit': sys.exit(3)
if q == 'die': os._exit(7)
if q == 'memory': return len(bytearray(8_000_000_000))
if q == 'hang': time.sleep(600)
if q == 'lock':
    import re
    re.match('(a+)+b', 'a' * 40)
if q == 'wait': time.sleep(0.4)
with open(f'ran-{q}', 'a') as file: file.write('x')
return [q, os.getpid()]
"""
AGGREGATING = """\
inputs:
  q: {type: int}
outputs:
  o: {type: string, reference: "${inputs.q}"}
nodes:
- name: n
  type: python
  source: {type: code, path: t.py}
  inputs: {q: "${inputs.q}"}
- name: total
  type: python
  aggregation: true
  source: {type: code, path: total.py}
  inputs: {values: "${n.output}", asked: "${inputs.q}"}
"""
TOTAL = """\
from promptflow.core import log_metric, tool
@tool
def total(values, asked):
    log_metric('total', sum(map(int, values)))
    log_metric('asked', sum(asked))
"""


@pytest.fixture
def open_pool() -> Iterator[OpenPool]:
    opened: list[SessionPool] = []

    def make(path: Path, *arguments: Any, **options: Any) -> SessionPool:
        opened.append(SessionPool(load_flow(path), *arguments, **options))
        return opened[-1]

    yield make
    for pool in opened:
        pool.close()


def run(pool: SessionPool, *questions: Any) -> dict[int, LineResult]:
    found: dict[int, LineResult] = {}
    for number, result in pool.run_lines((n, {"q": q}) for n, q in enumerate(questions)):
        assert number not in found
        assert number == result.number
        found[number] = result
    assert set(found) == set(range(len(questions)))
    return found


def why(result: LineResult) -> tuple[str, str]:
    assert result.failed
    error = result.result["error"]
    return error["codes"][-1], str(error["message"])


def test_every_line_comes_back_once_with_what_it_printed(
    make_flow: MakeFlow, open_pool: OpenPool
) -> None:
    pool = open_pool(one_tool(make_flow, "print('hear', q)\nreturn [q, os.getpid()]"), size=2)
    lines = run(pool, *map(str, range(2_000)))
    for number, line in lines.items():
        assert line.result["output"]["o"][0] == str(number)
        assert line.printed == f"hear {number}\n"
        assert line.seconds > 0
    again = run(pool, "x")[0]
    assert again.result["output"]["o"][1] in {
        line.result["output"]["o"][1] for line in lines.values()
    }


def test_a_line_that_harms_its_process_fails_alone(
    make_flow: MakeFlow, open_pool: OpenPool
) -> None:
    values = {"name": "k", "type": "custom", "configs": {}, "secrets": {"key": CANARY}}
    before = f"c = {CANARY!r}"
    folder = one_tool(make_flow, BODY, before=before)
    pool = open_pool(
        folder, Connections(values={"k": values}), size=2, timeout=5, memory_limit=4_000_000_000
    )
    harmful = ["raise", "exit", "die", "memory", "hang", "lock"]
    fine = [f"fine{n}" for n in range(60)]
    lines = run(pool, *fine[:20], *harmful, *fine[20:])
    results = {(fine[:20] + harmful + fine[20:])[n]: line for n, line in lines.items()}
    assert why(results["raise"]) == (
        "ToolExecutionError",
        "Execution failure in 'n': (ValueError) bad ***",
    )
    assert why(results["exit"])[1] == "Execution failure in 'n': (SystemExit) 3"
    assert why(results["die"]) == (
        "ProcessCrashError",
        "The process that runs the flow ended with exit code 7.",
    )
    assert "MemoryError" in why(results["memory"])[1]
    for name in ("hang", "lock"):
        code, text = why(results[name])
        assert code == "LineExecutionTimeoutError"
        assert text.startswith("The line did not finish within 5 seconds")
    for name in fine:
        assert results[name].result["output"]["o"][0] == name
        assert len((folder / f"ran-{name}").read_text()) in (1, 2)


def test_lines_side_by_side_in_one_process(make_flow: MakeFlow, open_pool: OpenPool) -> None:
    """Whoever ran beside a line that dies runs once more, alone."""
    folder = one_tool(make_flow, BODY, before="c = 1")
    pool = open_pool(folder, workers=4, timeout=30)
    lines = run(pool, "wait", "wait", "die", "wait", "one", "two", "three")
    assert [number for number, line in lines.items() if line.failed] == [2]
    assert "exit code 7" in why(lines[2])[1]
    assert 3 <= len((folder / "ran-wait").read_text()) <= 6


def test_a_flow_that_does_not_open_is_raised(make_flow: MakeFlow, open_pool: OpenPool) -> None:
    pool = open_pool(one_tool(make_flow, "return 1", before=f"raise ValueError('{CANARY}')"))
    with pytest.raises(PhoundryError, match="Failed to load python module") as caught:
        run(pool, "x")
    assert caught.value.to_dict()["codes"][-1] == "PythonLoadError"
    dying = open_pool(one_tool(make_flow, "return 1", before="os._exit(4)"))
    with pytest.raises(PhoundryError, match="exit code 4"):
        run(dying, "x")


@pytest.mark.parametrize("returns", ["q", "str(q)", "Value(q)"])
def test_aggregation_over_values_of_any_kind(
    make_flow: MakeFlow, open_pool: OpenPool, returns: str
) -> None:
    """JSON comes to the parent; other values stay, and all lines run where they are."""
    tool = (
        "from promptflow import tool\nclass Value:\n    def __init__(self, v): self.v = v\n"
        f"    def __int__(self): return self.v\n@tool\ndef t(q):\n    return {returns}\n"
    )
    files = {"flow.dag.yaml": AGGREGATING, "t.py": tool, "total.py": TOTAL}
    pool = open_pool(make_flow(files), size=2)
    lines = run(pool, *range(300))
    kept = {"Value(q)": ["${n.output}"]}.get(returns, [])
    assert all(line.kept == kept for line in lines.values())
    over = pool.aggregate([lines[n] for n in sorted(lines)])
    assert over.result["metrics"] == {"total": 44_850.0, "asked": 44_850.0}
    assert over.result["nodes"] == {"total": "Completed"}
    pool.close()
    elsewhere = pool.aggregate(list(lines.values()))
    if kept:
        assert "did not stay in one process: ${n.output} of line" in why(elsewhere)[1]
    else:
        assert elsewhere.result["metrics"] == over.result["metrics"]


def test_lines_are_read_as_they_are_needed_and_may_be_left(
    make_flow: MakeFlow, open_pool: OpenPool
) -> None:
    pool = open_pool(one_tool(make_flow, "return q"))
    read: list[int] = []

    def endless() -> Iterator[tuple[int, dict[str, Any]]]:
        for number in range(10**9):
            read.append(number)
            yield number, {"q": str(number)}

    lines = pool.run_lines(endless())
    for _ in range(1_000):
        next(lines)
    assert len(read) < 20_000
    lines.close()  # type: ignore[attr-defined]
    assert run(pool, "next")[0].result["output"] == {"o": "next"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(json_values)
def test_what_is_plain_comes_back_the_same(value: Any) -> None:
    assert is_plain(value)
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize("value", [(1,), [{1: 2}], {"a": {3}}, object(), b"x", [[(1, 2)]]])
def test_what_json_would_change_is_not_plain(value: Any) -> None:
    assert not is_plain(value)


def test_attributes_of_spans_are_bounded() -> None:
    long, deep = "x" * (PAYLOAD + 5), {"a": ["y" * PAYLOAD]}
    found = as_text(
        [{"attributes": {"l": long, "d": deep, "o": object, "n": 3, "s": ["a"]}, "error": None}], []
    )
    attributes = found[0]["attributes"]
    assert attributes["l"] == f"{'x' * PAYLOAD}… ({PAYLOAD + 5:,} characters in all)"
    assert attributes["d"].startswith('{"a": ["yyy')
    assert len(attributes["d"]) < PAYLOAD + 100
    assert "class 'object'" in attributes["o"]
    assert (attributes["n"], attributes["s"]) == (3, ["a"])
