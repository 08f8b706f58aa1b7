"""When a replica is asked how it is, and what its answers mean, by Azure's rules. Pure: no clock.

The first question comes `initial_delay` after the start, then one every `period`. A probe's verdict
changes only after so many answers of one kind in a row, so one lost answer means nothing. A replica
begins as good: it said so itself, by a real generation, before it was asked the first time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from phoundry.specs.probe import Probe

Kind = Literal["live", "ready"]
KINDS: tuple[Kind, ...] = ("live", "ready")


@dataclass(frozen=True, slots=True)
class ProbeState:
    """`due`: when the next question comes. At most one of the two counts is not 0."""

    due: float
    good: bool = True
    successes: int = 0  # in a row
    failures: int = 0


def begin(probe: Probe, started: float, now: float, *, good: bool = True) -> ProbeState:
    """The state of a process that started at `started` and was not asked yet."""
    return ProbeState(max(started + probe.initial_delay, now), good)


def answered(probe: Probe, state: ProbeState, success: bool, asked: float) -> ProbeState:
    """The state after the answer to the question of the time `asked`."""
    successes = state.successes + 1 if success else 0
    failures = 0 if success else state.failures + 1
    good = state.good
    if successes >= probe.success_threshold:
        good = True
    elif failures >= probe.failure_threshold:
        good = False
    return ProbeState(asked + probe.period, good, successes, failures)


@dataclass(frozen=True, slots=True)
class Target:
    """A process to be asked: where, how, since when it runs, and whether it is in rotation.

    The last two are only looked at when it is not known yet.
    """

    port: int
    live: Probe
    ready: Probe
    started: float = field(compare=False)
    rotated: bool = field(default=True, compare=False)

    def probe(self, kind: Kind) -> Probe:
        return self.live if kind == "live" else self.ready


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the answers so far mean. `failures`: of the probe, in a row."""

    live: bool
    ready: bool
    live_failures: int
    ready_failures: int


@dataclass(frozen=True, slots=True)
class Question:
    """One request to one process."""

    key: str
    kind: Kind
    port: int
    timeout: float  # seconds
    asked: float


def _first(target: Target, kind: Kind, now: float) -> ProbeState:
    good = kind == "live" or target.rotated
    return begin(target.probe(kind), target.started, now, good=good)


class Schedule:
    """What is known of every process that is watched. Keys name a process, not a replica: one that
    was started again is another, of which nothing is known yet."""

    def __init__(self) -> None:
        self._targets: dict[str, Target] = {}
        self._states: dict[tuple[str, Kind], ProbeState] = {}
        self._open: set[tuple[str, Kind]] = set()

    def watch(self, targets: Mapping[str, Target], now: float) -> bool:
        """Ask these and no others; whether that is news. Of those known already everything is
        kept; a changed probe holds from the next question on."""
        if targets == self._targets:
            return False
        self._targets = dict(targets)
        known = self._states
        self._states = {
            (key, kind): known.get((key, kind)) or _first(target, kind, now)
            for key, target in targets.items()
            for kind in KINDS
        }
        self._open &= self._states.keys()
        return True

    def due(self, now: float) -> list[Question]:
        """The questions whose time has come; each is open until it is answered."""
        return [self._question(key, kind, now) for key, kind in self._waiting() if
                self._states[key, kind].due <= now]  # fmt: skip

    def next_due(self) -> float | None:
        """When the next question comes; None: none will."""
        return min((self._states[each].due for each in self._waiting()), default=None)

    def answer(self, question: Question, success: bool) -> bool:
        """Take an answer in; whether it changes the verdict."""
        each = question.key, question.kind
        before = self._states.get(each)
        if before is None or each not in self._open:
            return False  # it is watched no more
        self._open.discard(each)
        probe = self._targets[question.key].probe(question.kind)
        self._states[each] = after = answered(probe, before, success, question.asked)
        return after.good != before.good

    def verdicts(self) -> dict[str, Verdict]:
        """What is known of every process that is watched."""
        return {key: self._verdict(key) for key in self._targets}

    def _verdict(self, key: str) -> Verdict:
        live, ready = self._states[key, "live"], self._states[key, "ready"]
        return Verdict(live.good, ready.good, live.failures, ready.failures)

    def _waiting(self) -> Iterator[tuple[str, Kind]]:
        return (each for each in self._states if each not in self._open)

    def _question(self, key: str, kind: Kind, now: float) -> Question:
        self._open.add((key, kind))
        target = self._targets[key]
        return Question(key, kind, target.port, target.probe(kind).timeout, now)
