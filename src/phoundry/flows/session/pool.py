"""`SessionPool`: many lines of a flow in processes with limits, a few processes for all of them.

Lines go out in messages of as many as take a few hundredths of a second. A line that ends or hangs
its process fails alone: the process is replaced, lines that had not begun go to another, and a line
that had runs once more, with none beside it.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from phoundry.flows.errors import FlowError, FlowUserError, SessionTimeout
from phoundry.flows.model import Flow
from phoundry.flows.prepare import Connections
from phoundry.flows.runner import Outcome
from phoundry.flows.session.member import Member
from phoundry.flows.session.opening import as_error, opening, secrets_of
from phoundry.flows.session.recorded import pack
from phoundry.flows.session.redact import redact
from phoundry.flows.session.result import LineResult

LOOK = 0.5  # seconds between looks for lines that take too long
START = 60.0  # seconds that a process may take to start, however short `timeout` is
AGGREGATION = 600.0  # and the aggregation, which sees all lines
PATIENCE = 0.05  # seconds of work that are worth another process
Line = tuple[int, Mapping[str, Any]]


class SessionPool:
    """Up to `size` processes that run lines of `flow`; close it.

    `connections` are what `flows.connections.resolved` gave, `init` a flex flow's. `timeout` is for
    one line, in seconds, `memory_limit` in bytes for each process. `workers` lines run at a time in
    each process, in threads: for tools that wait for others. `python` is the interpreter.
    """

    def __init__(
        self,
        flow: Flow,
        connections: Connections | None = None,
        size: int = 1,
        timeout: float = 600,
        memory_limit: int | None = None,
        init: Mapping[str, Any] | None = None,
        *,
        variant: str | None = None,
        environment: Mapping[str, Any] | None = None,
        workers: int = 1,
        traced: bool = False,
        python: str | None = None,
    ) -> None:
        found = connections or Connections()
        self.size, self.timeout, self.workers = size, timeout, workers
        self._flow, self._python = flow, python
        self._opening = opening(
            flow,
            found,
            variant=variant,
            init=init,
            environment=environment,
            memory_limit=memory_limit,
            traced=traced,
        )
        self._secrets = secrets_of(found, flow, environment, init)
        self._members: list[Member] = []
        self._heard: queue.SimpleQueue[tuple[Member, dict[str, Any] | None]] = queue.SimpleQueue()
        self._back: deque[Line] = deque()  # given out, and not begun
        self._again: deque[Line] = deque()  # begun, and interrupted
        self._interrupted: set[int] = set()
        self._keeper: Member | None = None  # has values which the aggregation needs
        self._aggregates = False
        self._probing = True  # no line has come back: nobody knows what it leaves

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the first process now, so that it is ready when the first lines come."""
        if not self._members:
            self._start()

    def close(self) -> None:
        """End the processes."""
        while self._members:
            self._members.pop().close()
        self._keeper, self._probing = None, True

    def run_lines(self, lines: Iterable[Line]) -> Iterator[tuple[int, LineResult]]:
        """Run `lines`, each `(number, inputs)` with a number of its own, and give each one's result
        as it comes. `lines` is read as far as there are processes to take them.

        Raises:
            FlowError: the flow does not open: a tool does not load, a connection is missing.
        """
        source = iter(lines)
        try:
            while True:
                self._hand_out(source)
                if not any(member.given or member.opened is None for member in self._members):
                    return
                look = LOOK if len(self._members) >= self.size else PATIENCE
                try:
                    member, answer = self._heard.get(timeout=min(look, self.timeout / 4))
                except queue.Empty:
                    pass
                else:
                    yield from self._take(member, answer)
                self._end_late()
        finally:
            self._abandon()

    def _abandon(self) -> None:
        """Forget the lines that nobody waits for any more, with the processes that run them."""
        self._back.clear()
        self._again.clear()
        for member in [each for each in self._members if each.given]:
            self._lose(member)

    def aggregate(self, lines: Sequence[LineResult]) -> LineResult:
        """The aggregation over `lines`, which completed, in their order; its number is -1. Lines
        of an earlier run may be among them. A fault of the aggregation is in the result.

        Raises:
            FlowError: the flow does not open.
        """
        holder = self._keeper
        lost = [
            f"{name} of line {line.number}"
            for line in lines
            for name in line.kept
            if holder is None or line.number not in holder.kept
        ]
        if lost:
            return self._failed(-1, _not_here(lost))
        member = holder or next(iter(self._members), None) or self._start()
        member.say(
            {
                "op": "aggregate",
                "numbers": [line.number for line in lines],
                "inputs": [line.inputs for line in lines],
                "values": [line.aggregation_inputs for line in lines],
            }
        )
        return self._aggregated(member, time.monotonic() + max(self.timeout, AGGREGATION))

    def _aggregated(self, member: Member, deadline: float) -> LineResult:
        while True:
            left = deadline - time.monotonic()
            try:
                heard, answer = self._heard.get(timeout=max(0.0, min(left, LOOK)))
            except queue.Empty:
                if left > LOOK:
                    member.child.look()
                    continue
                self._lose(member)
                limit = max(self.timeout, AGGREGATION)
                return self._failed(-1, self._too_long("The aggregation", limit))
            if heard is not member:
                continue
            if answer is None:
                self._lose(member)
                return self._failed(-1, member.child.crash())
            if answer["event"] == "ready":
                member.opened = time.monotonic()
            if answer["event"] == "failed":
                raise as_error(redact(answer["error"], self._secrets))
            if answer["event"] == "result":
                return self._result(
                    [
                        -1,
                        answer["result"],
                        {},
                        {},
                        [],
                        answer["printed"],
                        pack(answer["spans"]),
                        0,
                        0,
                    ]
                )

    def _hand_out(self, source: Iterator[Line]) -> None:
        for member in self._members:
            if self._keeper in (None, member):
                self._fill(member, source)
        if not self._members and self._again:
            self._start()
        if not self._wants_another():
            return
        line = self._next(source)
        if line is not None:
            self._back.appendleft(line)
            self._start()

    def _wants_another(self) -> bool:
        """Whether every process has its hands full, and has had for a while."""
        if self._members and (self._keeper or (self._probing and self._aggregates)):
            return False
        busy = time.monotonic() - PATIENCE
        return len(self._members) < self.size and all(
            member.opened is not None and member.opened < busy for member in self._members
        )

    def _fill(self, member: Member, source: Iterator[Line]) -> None:
        if self._again and member.opened is not None and not member.given:
            member.alone = True
            member.give([self._again.popleft()])
            return
        lines: list[Line] = []
        for _ in range(member.room()):
            line = self._next(source)
            if line is None:
                break
            lines.append(line)
        if lines:
            member.give(lines)

    def _next(self, source: Iterator[Line]) -> Line | None:
        return self._back.popleft() if self._back else next(source, None)

    def _start(self) -> Member:
        heard = self._heard
        member = Member(
            self._flow.root,
            self._opening,
            self.workers,
            lambda member, answer: heard.put((member, answer)),
            self._python,
            self._secrets,
        )
        self._members.append(member)
        return member

    def _take(
        self, member: Member, answer: dict[str, Any] | None
    ) -> Iterator[tuple[int, LineResult]]:
        if member not in self._members:
            return  # the last words of one that was ended
        if answer is None:
            yield from self._ended(member)
        elif answer["event"] == "ready":
            member.opened = time.monotonic()
            self._aggregates = bool(answer.get("aggregates"))
        elif answer["event"] == "failed":
            raise as_error(redact(answer["error"], self._secrets))
        elif answer["event"] == "lines":
            results: list[list[Any]] = answer["results"]
            member.took(len(results))
            for values in results:
                if member.given.pop(values[0], None) is None:
                    continue  # not ours to believe
                result = self._result(values)
                if result.kept:
                    member.kept.add(result.number)
                    self._keeper = self._keeper or member  # which runs all others from now on
                self._probing = False
                yield result.number, result
            member.alone = member.alone and bool(member.given)

    def _result(self, values: list[Any]) -> LineResult:
        line = LineResult(*values)
        if self._secrets:
            # Its spans are the text of a JSON document, and the process has hidden them in it.
            line.printed = redact(line.printed, self._secrets)
            line.result["error"] = redact(line.result["error"], self._secrets)
        return line

    def _end_late(self) -> None:
        """End the processes whose lines take too long; the rest follows when they have ended."""
        for member in list(self._members):
            member.child.look()
            limit = max(self.timeout, START)
            if member.opened is None and time.monotonic() - member.started > limit:
                self._lose(member)
                raise self._too_long("The start of the flow's process", limit)
            if member.stuck(limit):
                member.child.kill()
            elif not member.guilty and (late := member.late(self.timeout)):
                member.guilty = late
                member.child.kill()

    def _ended(self, member: Member) -> Iterator[tuple[int, LineResult]]:
        """Replace `member`: the line that ended it fails, its others run elsewhere."""
        error: FlowError = member.child.crash()
        begun, guilty = member.running(), member.guilty & member.given.keys()
        self._lose(member)
        if member.opened is None:
            raise as_error(redact(error.to_dict(), self._secrets))
        if member.guilty:
            error = self._too_long("The line", self.timeout)
        elif len(begun) == 1:
            guilty = begun
        elif not begun and member.given:  # between two lines: the next one stands for it
            begun = {next(iter(member.given))}
            guilty = begun & self._interrupted
        # Of several that ran side by side nobody knows which it was; each gets another try, alone.
        self._interrupted |= begun
        self._again.extend((n, member.given[n]) for n in member.given if n in begun - guilty)
        rest = [(n, member.given[n]) for n in member.given if n not in begun | guilty]
        self._back.extendleft(reversed(rest))
        for number in guilty:
            yield number, self._failed(number, error)

    def _lose(self, member: Member) -> None:
        self._members.remove(member)
        member.close()
        if self._keeper is member:
            self._keeper = None  # what it kept is gone: `aggregate` says so

    def _failed(self, number: int, error: FlowError) -> LineResult:
        body = redact(error.to_dict(), self._secrets)
        return LineResult(number, Outcome(None, {}).to_dict() | {"status": "Failed", "error": body})

    def _too_long(self, what: str, limit: float) -> SessionTimeout:
        return SessionTimeout(
            f"{what} did not finish within {limit:g} seconds, and its process was ended.",
            remedy="Allow it more time, or look for what the tool waits for.",
        )


def _not_here(lost: list[str]) -> FlowError:
    return FlowUserError(
        "The aggregation needs values that are no JSON and did not stay in one process: "
        f"{', '.join(lost[:3])}{f' and {len(lost) - 3} more' if len(lost) > 3 else ''}.",
        remedy="Run the lines in one process, or let the nodes return JSON.",
    )
