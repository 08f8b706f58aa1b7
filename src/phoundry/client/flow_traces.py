"""Which lines of a batch leave a trace.

Every line that asked a model, took long or failed does; of the others the first ones of the run. A
batch of a hundred thousand trivial lines would else push out of the store what is worth a look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phoundry.flows.session.pool import LineResult
    from phoundry.traces.record import Recorder

FIRST = 1_000  # lines of one go that are kept whatever they did
LONG = 0.05  # seconds


class LineTraces:
    """Keeps traces of the lines of the run `run` of the flow in `folder`."""

    def __init__(self, recorder: Recorder, folder: str, run: str) -> None:
        self._recorder, self._folder, self._run = recorder, folder, run
        self._kept = 0

    def keep(self, line: LineResult) -> None:
        """Keep the trace of `line` if it is worth it; line -1 is the aggregation."""
        error: dict[str, Any] = line.result["error"] or {}
        if self._kept >= FIRST and not error and not _worth(line):
            return
        self._kept += 1
        self._recorder.put(
            line.spans,
            self._folder,
            run=self._run,
            line=line.number if line.number >= 0 else None,
            error=error.get("message"),
        )


def _worth(line: LineResult) -> bool:
    return (
        line.number < 0
        or line.seconds >= LONG
        or '"kind": "model"' in line.spans  # their text: a user's own quotes are escaped in it
    )
