"""Which lines of a batch leave a trace."""

from __future__ import annotations

from typing import Any, cast

from phoundry.client.flow_traces import FIRST, LONG, LineTraces
from phoundry.flows.session.pool import LineResult
from phoundry.flows.session.recorded import pack
from phoundry.traces.record import Recorder


class Kept:
    def __init__(self) -> None:
        self.lines: list[int | None] = []

    def put(self, spans: str, flow: str, **more: Any) -> None:
        assert (flow, more["run"]) == ("folder", "run")
        self.lines.append(more["line"])


def line(number: int, seconds: float = 0.0, kind: str = "flow", error: Any = None) -> LineResult:
    quoting = {"output": '{"kind": "model"}'}  # what a tool may print is no call of a model
    span = {"id": 1, "parent": None, "kind": kind, "name": "n", "start": 1, "end": 2}
    spans = pack([span | {"attributes": quoting, "error": None}])
    return LineResult(number, {"error": error}, spans=spans, seconds=seconds)


def test_beyond_the_first_lines_only_those_worth_a_look() -> None:
    kept = Kept()
    traces = LineTraces(cast(Recorder, kept), "folder", "run")
    for number in range(FIRST + 10):
        traces.keep(line(number))
    traces.keep(line(2001, seconds=LONG))
    traces.keep(line(2002, kind="model"))
    traces.keep(line(2003, error={"message": "no"}))
    traces.keep(line(-1))
    traces.keep(line(2004, kind="node"))
    assert kept.lines == [*range(FIRST), 2001, 2002, 2003, None]
