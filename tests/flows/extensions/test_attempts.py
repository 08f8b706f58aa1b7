"""`retry`, `timeout` and `on_error` as they run."""

from __future__ import annotations

import pytest

from phoundry.flows.errors import OpenAIError, ToolExecutionError
from phoundry.flows.extensions.attempts import LONGEST_WAIT, tried_again, waiting
from phoundry.flows.extensions.keys import Retry
from tests.flows.extensions.conftest import Run, node

# Fails until it was called `x` times.
SHAKY = (
    "def t(x, seen=[]):\n    seen.append(1)\n    if len(seen) < x:\n"
    "        raise KeyError('not yet')\n    return len(seen)\n"
)
HANGS = "def t(x):\n    import threading\n    threading.Event().wait(x)\n    return 'late'\n"
HANGS_ASYNC = "async def t(x):\n    import asyncio\n    await asyncio.sleep(x)\n    return 'late'\n"


def test_a_node_is_tried_again_until_it_works(run: Run) -> None:
    outcome = run(node("n", "  retry: {max_attempts: 3, delay: 0}\n", x=3), SHAKY)
    assert outcome.output == {"o": 3}
    assert outcome.nodes == {"n": "Completed"}


def test_the_last_attempts_error_is_the_nodes(run: Run) -> None:
    outcome = run(node("n", "  retry: {max_attempts: 2, delay: 0}\n", x=3), SHAKY)
    assert outcome.error is not None
    assert outcome.error.message == "Execution failure in 'n': (KeyError) 'not yet'"
    assert outcome.nodes == {"n": "Failed"}


@pytest.mark.parametrize(
    ("on", "expected"),
    [("KeyError", 2), ("LookupError", 2), ("ToolExecutionError", 2), ("ValueError", None)],
)
def test_on_names_what_is_tried_again(run: Run, on: str, expected: int | None) -> None:
    more = f"  retry: {{max_attempts: 2, delay: 0, on: [{on}]}}\n"
    outcome = run(node("n", more, x=2), SHAKY)
    assert (outcome.output or {}).get("o") == expected


def test_codes_count_as_names() -> None:
    assert tried_again(OpenAIError("busy"), Retry(on=("OpenAIError",)))
    assert not tried_again(ToolExecutionError("x"), Retry(on=("OpenAIError",)))


def test_waiting_grows_and_has_an_end() -> None:
    retry = Retry(delay=2, backoff=3)
    assert [waiting(retry, number) for number in (1, 2, 3)] == [2, 6, 18]
    assert waiting(retry, 10_000) == 300
    assert 2 <= waiting(Retry(delay=2, jitter=0.5), 1) <= 2.5


@pytest.mark.parametrize("tool", [HANGS, HANGS_ASYNC])
def test_a_node_that_takes_too_long_fails(run: Run, tool: str) -> None:
    outcome = run(node("n", "  timeout: 0.05\n", x=20), tool)
    assert outcome.error is not None
    assert outcome.error.codes == ["UserError", "ToolExecutionError", "NodeTimeoutError"]
    assert "within 0.05 seconds" in outcome.error.message


@pytest.mark.parametrize("tool", [HANGS, HANGS_ASYNC])
def test_a_node_within_its_time_is_as_others(run: Run, tool: str) -> None:
    assert run(node("n", "  timeout: 30\n", x=0), tool).output == {"o": "late"}


def test_a_timeout_is_tried_again(run: Run) -> None:
    tool = (
        "def t(x, seen=[]):\n    import threading\n    seen.append(1)\n"
        "    threading.Event().wait(20 if len(seen) == 1 else 0)\n    return len(seen)\n"
    )
    more = "  timeout: 2\n  retry: {max_attempts: 2, delay: 0, on: TimeoutError}\n"
    assert run(node("n", more, x=1), tool).output == {"o": 2}


def test_a_value_stands_in(run: Run) -> None:
    nodes = node("bad", "  on_error: {value: {score: 0}}\n", x=2) + node(
        "n", x="${bad.output.score}", path="plain.py"
    )
    plain = "from promptflow.core import tool\n@tool\ndef t(x):\n    return x\n"
    outcome = run(nodes, SHAKY, files={"plain.py": plain})
    assert outcome.error is None
    assert outcome.output == {"o": 0}
    assert outcome.nodes == {"bad": "Failed", "n": "Completed"}


PARTS = {
    "raises.py": "from promptflow.core import tool\n@tool\ndef t(x):\n    raise ValueError(x)\n",
    "says.py": "from promptflow.core import tool\n@tool\ndef t(x):\n    return x\n",
}


def test_a_node_stands_in_and_its_own_fallback_after_it(run: Run) -> None:
    nodes = (
        node("n", "  on_error: {node: second}\n", "raises.py", x=1)
        + node("second", "  on_error: {node: third}\n", "raises.py", x=2)
        + node("third", path="says.py", x=3)
        + node("after", path="says.py", x="${n.output}")
        + node("direct", path="says.py", x="${second.output}")
    )
    outputs = (
        "{o: {type: int, reference: '${after.output}'}, "
        "d: {type: int, reference: '${direct.output}'}}"
    )
    outcome = run(nodes, files=PARTS, outputs=outputs)
    assert outcome.error is None
    assert outcome.output == {"o": 3, "d": 3}
    assert outcome.nodes == {
        "n": "Failed",
        "second": "Failed",
        "third": "Completed",
        "after": "Completed",
        "direct": "Completed",
    }


def test_a_fallback_that_is_not_needed_is_bypassed(run: Run) -> None:
    nodes = node("n", "  on_error: {node: f}\n", "says.py", x=1) + node("f", path="raises.py", x=2)
    outcome = run(nodes, files=PARTS)
    assert outcome.output == {"o": 1}
    assert outcome.nodes == {"n": "Completed", "f": "Bypassed"}


def test_a_fallback_of_a_bypassed_node_is_bypassed(run: Run) -> None:
    more = "  on_error: {node: f}\n  activate: {when: '${inputs.q}', is: 2}\n"
    nodes = node("n", more, "says.py", x=1) + node("f", path="says.py", x=2)
    outcome = run(nodes, files=PARTS)
    assert outcome.output == {"o": None}
    assert outcome.nodes == {"n": "Bypassed", "f": "Bypassed"}


def test_a_fallback_that_fails_ends_the_run(run: Run) -> None:
    nodes = node("n", "  on_error: {node: f}\n", "raises.py", x=1) + node(
        "f", path="raises.py", x=2
    )
    outcome = run(nodes, files=PARTS)
    assert outcome.error is not None
    assert "in 'f'" in outcome.error.message
    assert outcome.nodes == {"n": "Failed", "f": "Failed"}


def test_a_part_that_is_not_there_counts_as_failure(run: Run) -> None:
    nodes = node("a", path="says.py", x=1) + node(
        "n", "  on_error: {value: none}\n", "says.py", x="${a.output.gone}"
    )
    assert run(nodes, files=PARTS).output == {"o": "none"}


def test_a_wait_beyond_all_numbers_is_the_longest() -> None:
    assert waiting(Retry(70, delay=1.0, backoff=1e10), 69) == LONGEST_WAIT
    assert waiting(Retry(70, delay=0.0, backoff=1e10), 69) == 0.0
