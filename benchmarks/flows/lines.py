"""Lines of one flow within one process, of either side: seconds a line, as JSON.

    python -m benchmarks.flows.lines phoundry|promptflow FLOW

Run by each side's own Python, so nothing of the other is imported. Ours records spans, as its
commands do.
"""

from __future__ import annotations

import importlib
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

SECONDS = 2.0  # of measuring
BLOCKS = 9  # the median of so many counts
INPUTS = {"question": "Who founded Microsoft?"}
Line = Callable[[], Any]


def ours(folder: Path, stack: ExitStack) -> Line:
    from phoundry.flows import load_flow
    from phoundry.flows.executor import surroundings
    from phoundry.flows.runner import open_runner
    from phoundry.flows.spans import recording

    flow = load_flow(folder)
    stack.enter_context(surroundings(flow))
    runner = open_runner(flow)

    def line() -> Any:
        with recording():
            outcome = runner.line(INPUTS)
        assert outcome.error is None, outcome.error
        return outcome.output

    return line


def theirs(folder: Path) -> Line:
    logging.disable(logging.CRITICAL)  # a line of log for every node is not what is timed
    executor: Any = importlib.import_module("promptflow.executor").FlowExecutor.create(
        folder / "flow.dag.yaml", {}, raise_ex=True
    )
    return lambda: executor.exec_line(INPUTS).output


def seconds_a_line(line: Line) -> float:
    """The median of blocks that together take about `SECONDS`."""
    for _ in range(5):
        assert line() == {"answer": INPUTS["question"]}
    began = time.perf_counter()
    line()
    once = time.perf_counter() - began
    count = max(1, int(SECONDS / BLOCKS / once))
    blocks: list[float] = []
    for _ in range(BLOCKS):
        began = time.perf_counter()
        for _ in range(count):
            line()
        blocks.append((time.perf_counter() - began) / count)
    return statistics.median(blocks)


if __name__ == "__main__":
    who, flow_folder = sys.argv[1], Path(sys.argv[2])
    with ExitStack() as around:
        timed = ours(flow_folder, around) if who == "phoundry" else theirs(flow_folder)
        print(json.dumps(seconds_a_line(timed)))
