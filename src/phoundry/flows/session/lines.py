"""The child's side of a batch: many lines a message, several at a time where tools wait.

A result goes out with those of its neighbours: when nothing more is to do, when enough has come
together, or `AGE` seconds after it was there. So a child that dies takes the results of a few
hundredths of a second with it, at most.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from phoundry.flows.runner import Outcome, Runner
from phoundry.flows.session.plain import is_plain
from phoundry.flows.session.printing import printed, shorten_log
from phoundry.flows.session.recorded import pack
from phoundry.flows.session.slots import Slots
from phoundry.flows.session.watch import Watch, unexpected

AGE = 0.02  # seconds
SIZE = 250_000  # characters of results in one message

Numbered = tuple[int, Mapping[str, Any]]


class Lines:
    """Runs lines with `runner` and gives `send` the text of their results, joined by commas.

    What a line leaves for the aggregation, and is not JSON, stays here: `kept`.
    """

    def __init__(
        self, runner: Runner, slots: Slots, send: Callable[[str], None], watch: Watch
    ) -> None:
        self.kept: dict[int, dict[str, dict[str, Any]]] = {}
        self._watch = watch
        self._runner, self._slots, self._send = runner, slots, send
        self._lock = threading.Lock()
        self._done: list[str] = []
        self._size = 0
        self._since = 0.0
        self._unfinished = 0
        self._something = threading.Event()
        self._waiting: queue.SimpleQueue[Numbered] = queue.SimpleQueue()
        threading.Thread(target=self._sweep, daemon=True).start()
        if slots.count > 1:
            for slot in range(slots.count):
                threading.Thread(target=self._work, args=(slot,), daemon=True).start()

    def take(self, lines: list[Numbered]) -> None:
        """Run `lines`: here and now, or in the threads when several run at a time."""
        with self._lock:
            self._unfinished += len(lines)
        for line in lines:
            if self._slots.count > 1:
                self._waiting.put(line)
            else:
                self._one(0, line)

    def _work(self, slot: int) -> None:
        while True:
            self._one(slot, self._waiting.get())

    def _one(self, slot: int, line: Numbered) -> None:
        number, inputs = line
        shorten_log()
        self._slots.begin(slot, number)
        text = self._result(number, inputs)
        self._slots.end(slot)
        self._add(text)

    def _result(self, number: int, inputs: Mapping[str, Any]) -> str:
        started, clock = time.time(), time.perf_counter()
        with printed(self._watch.secrets) as pieces:
            outcome, spans = self._watch.run(lambda: self._runner.line(inputs, number=number))
        took = [started, time.perf_counter() - clock]
        try:
            head = [number, outcome.to_dict(), *self._for_aggregation(number, outcome)]
            return json.dumps([*head, pieces.text(), pack(spans), *took])
        except (TypeError, ValueError, RecursionError) as error:  # no JSON, after all
            self.kept.pop(number, None)
            fault = unexpected(error).to_dict()
            return json.dumps([number, fault, {}, {}, [], pieces.text(), "", *took])

    def _for_aggregation(self, number: int, outcome: Outcome) -> tuple[Any, Any, list[str]]:
        """The line's inputs and values as far as they are JSON, and the names of the others."""
        if outcome.error is not None or not self._runner.aggregates:
            return {}, {}, []
        parts = {"inputs": outcome.inputs, "values": outcome.aggregation_inputs}
        plain = {
            part: {name: value for name, value in values.items() if is_plain(value)}
            for part, values in parts.items()
        }
        kept = {
            part: {name: value for name, value in values.items() if name not in plain[part]}
            for part, values in parts.items()
        }
        names = [*kept["inputs"], *kept["values"]]
        if names:
            self.kept[number] = kept
        return plain["inputs"], plain["values"], names

    def _add(self, text: str) -> None:
        with self._lock:
            if not self._done:
                self._since = time.monotonic()
                self._something.set()
            self._done.append(text)
            self._size += len(text)
            self._unfinished -= 1
            due = time.monotonic() - self._since >= AGE
            if self._unfinished == 0 or self._size >= SIZE or due:
                self._flush()

    def _flush(self) -> None:
        if self._done:
            self._send(",".join(self._done))
            self._done, self._size = [], 0

    def _sweep(self) -> None:
        """Send what waits while a line takes long."""
        while True:
            self._something.wait()
            self._something.clear()
            time.sleep(AGE)
            with self._lock:
                self._flush()
