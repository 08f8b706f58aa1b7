"""A flow over numbers, and a pool that runs it in this process."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from phoundry.flows.batch.folder import Record, RunFolder
from phoundry.flows.batch.store import RunStore
from phoundry.flows.batch.taken import sources_of
from phoundry.flows.batch.work import Work, index_of
from phoundry.flows.executor import surroundings
from phoundry.flows.load import load_flow
from phoundry.flows.runner import Outcome, Runner, open_runner
from phoundry.flows.session.pool import LineResult

YAML = """
inputs:
  n: {type: int}
  word: {type: string, default: a}
outputs:
  half: {type: double, reference: "${half.output}"}
nodes:
- name: half
  type: python
  source: {type: code, path: half.py}
  inputs: {n: "${inputs.n}", word: "${inputs.word}"}
"""
AGGREGATING = """- name: mean
  type: python
  aggregation: true
  source: {type: code, path: mean.py}
  inputs: {halves: "${half.output}", words: "${inputs.word}"}
"""
HALF = """
from promptflow.core import tool
@tool
def half(n: int, word: str):
    if n % 5 == 3:
        raise ValueError(f"no half of {n}")
    return n / 2
"""
MEAN = """
from promptflow.core import log_metric, tool
@tool
def mean(halves: list, words: list):
    log_metric("mean", sum(halves) / len(halves))
    log_metric("lines", len(words))
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    """Halves `n`; fails for 3, 8, 13 …; logs the mean of the halves."""
    folder = tmp_path / "halves"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(YAML + AGGREGATING)
    (folder / "half.py").write_text(HALF)
    (folder / "mean.py").write_text(MEAN)
    return folder


@dataclass
class LocalPool:
    """Runs lines with the flow's own runner, in any order; `stop_after` lines it is interrupted."""

    runner: Runner
    seed: int | None = None
    stop_after: int | None = None
    seen: list[int] = field(default_factory=list[int])
    kept: bool = False

    def start(self) -> None:
        pass

    def run_lines(
        self, lines: Iterable[tuple[int, Mapping[str, Any]]]
    ) -> Iterator[tuple[int, LineResult]]:
        todo = list(lines)
        if self.seed is not None:
            random.Random(self.seed).shuffle(todo)
        for number, inputs in todo:
            if len(self.seen) == self.stop_after:
                raise KeyboardInterrupt
            self.seen.append(number)
            found = self.runner.line(inputs, number=number)
            yield number, _result(number, found, ["n"] if self.kept else [])

    def aggregate(self, lines: Sequence[LineResult]) -> LineResult:
        over = self.runner.aggregate(
            [line.inputs for line in lines], [line.aggregation_inputs for line in lines]
        )
        return _result(-1, over, [])


def _result(number: int, found: Outcome, kept: list[str]) -> LineResult:
    line = LineResult(
        number, found.to_dict(), printed=f"line {number}\n", started=1.0, seconds=0.25
    )
    if found.error is None:
        line.inputs, line.aggregation_inputs = dict(found.inputs), found.aggregation_inputs
        line.kept = kept
    return line


@dataclass
class Ran:
    folder: RunFolder
    record: Record
    pool: LocalPool


RunFlow = Callable[..., Ran]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def run_here(
    store: RunStore,
    flow: Path,
    data: Path | None = None,
    name: str = "r",
    *,
    resume: bool = False,
    retry: bool = False,
    mapping: Mapping[str, Any] | None = None,
    run: str | None = None,
    init: Mapping[str, Any] | None = None,
    **options: Any,
) -> Ran:
    """A go of the run `name`, its lines in this process; `options` are those of `LocalPool`."""
    loaded = load_flow(flow)
    pools: list[LocalPool] = []

    @contextmanager
    def open_pool() -> Generator[LocalPool]:
        with surroundings(loaded):
            pools.append(LocalPool(open_runner(loaded, None, init), **options))
            yield pools[0]

    folder = store.folder(name) if resume else store.make(name)
    record = folder.read() or Record(name=name, flow=str(loaded.file), data=data and str(data))
    record.column_mapping, record.run = dict(mapping or {}), run
    with folder.held():
        work = Work(folder, record, loaded, open_pool)
        try:
            if resume:
                work.go_on(index_of(folder), retry_failed=retry)
            else:
                work.begin(sources_of(store, data, run))
        except KeyboardInterrupt:
            pass
    return Ran(folder, record, pools[0])


@pytest.fixture
def run_flow(flow: Path, store: RunStore) -> RunFlow:
    """`run_here` with this test's flow and store."""
    return partial(run_here, store, flow)
