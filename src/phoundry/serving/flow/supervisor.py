"""Serves a flow until it is told to stop: holds the listening socket and keeps processes behind it.

The socket is this process's, so while a process that has died is replaced, requests wait instead of
being refused. A process whose threads are stuck is replaced, too: the new one first.
"""

from __future__ import annotations

import importlib.util
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from phoundry.errors import MissingDependency
from phoundry.flows.errors import FlowError, SessionCrash
from phoundry.serving.flow.child import Child, how_it_ended
from phoundry.serving.flow.opening import Opening

STEADY = 60.0  # seconds after which an end is the first of a row
LONGEST = 30.0  # seconds between two starts
START = 120.0  # seconds that the first start may take
STOP = 5.0  # seconds beyond their grace that processes have to end
LOOK = 1.0  # seconds after which a signal is heard that came just as waiting began

Message = tuple[Child | None, dict[str, Any]]


class Refused(FlowError):
    """The flow does not load in its process; codes and message are as it told them."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(str(told.get("message")), remedy=told.get("remedy"))
        self._told = told

    @property
    def codes(self) -> list[str]:
        return list(self._told.get("codes") or [self._told.get("code", self.code)])

    def to_dict(self) -> dict[str, Any]:
        return self._told


class Supervisor:
    """Processes that serve one flow on `listener`. `note` gets narration, `log` what they
    print, `trace` what requests did (see `tracing.Traces`)."""

    def __init__(
        self,
        opening: Opening,
        listener: socket.socket,
        *,
        workers: int = 1,
        note: Callable[[str], object] = lambda text: None,
        log: Callable[[str], object] = lambda text: None,
        trace: Callable[[dict[str, Any]], object] = lambda told: None,
    ) -> None:
        for package in ("uvicorn", "uvloop", "httptools"):
            if importlib.util.find_spec(package) is None:
                raise MissingDependency.extra(package, "flow", "Serving a flow")  # noqa: S610
        self._opening, self._listener, self._workers = opening, listener, workers
        self._note, self._log, self._trace = note, log, trace
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._children: list[Child] = []
        self._leaving: dict[Child, Child] = {}  # by their successors
        self._failures = 0
        self._stopping = False

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self._children]

    def start(self) -> None:
        """Start the processes; returns when one answers.

        Raises:
            FlowError: the flow does not load.
            SessionCrash: the process ended.
        """
        for _ in range(self._workers):
            self._spawn()
        deadline = time.monotonic() + START
        while not any(child.ready for child in self._children):
            try:
                child, told = self._messages.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.stop()
                raise SessionCrash(
                    f"The flow was not loaded within {START:g} seconds.",
                    remedy="Look for what its files do when they are imported.",
                ) from None
            if told["event"] == "failed":
                self.stop()
                raise Refused(told["error"])
            if told["event"] == "gone":
                self.stop()
                raise SessionCrash(
                    f"The process that loads the flow ended with {how_it_ended(told['code'])}."
                )
            self._heard(child, told)

    def run(self) -> None:
        """Look after the processes until `ask_to_stop`; all have ended when this returns."""
        while True:
            try:
                child, told = self._messages.get(timeout=LOOK)
            except queue.Empty:
                continue  # a signal wakes only who waits already; its handler runs here
            if told["event"] == "stop":
                break
            self._heard(child, told)
        self.stop()

    def ask_to_stop(self) -> None:
        """End `run`, from any thread or from a signal's handler."""
        self._messages.put((None, {"event": "stop"}))

    def stop(self) -> None:
        """End the processes: they answer what they have, within some seconds."""
        self._stopping = True
        every = [*self._children, *self._leaving.values()]
        for child in every:
            child.terminate()
        deadline = time.monotonic() + self._opening.grace + STOP
        for child in every:
            if not child.wait(max(0.0, deadline - time.monotonic())):
                child.kill()
        self._children, self._leaving = [], {}

    def _spawn(self, after: Child | None = None) -> Child:
        """Start a process; one that takes the place of `after` takes over what that one was for."""
        child = Child(self._opening, self._listener, self._say, self._log)
        self._children.append(child)
        if after is not None and (old := self._leaving.pop(after, None)) is not None:
            self._leaving[child] = old
        return child

    def _say(self, child: Child | None, told: dict[str, Any]) -> None:
        self._messages.put((child, told))

    def _heard(self, child: Child | None, told: dict[str, Any]) -> None:
        match told["event"]:
            case "ready" if child is not None:
                child.ready = True
                old = self._leaving.pop(child, None)
                if old is not None:
                    old.terminate()
            case "stuck" if child in self._children:
                self._note("Tools of the flow hang: another process takes over.")
                self._children.remove(child)
                self._leaving[self._spawn()] = child
            case "failed":
                self._note(f"The flow does not load any more: {told['error'].get('message')}")
            case "trace":
                self._trace(told)
            case "gone" if child in self._children:
                self._replace(child, told["code"])
            case "again" if not self._stopping:
                self._spawn(child)
            case _:
                pass  # the last word of one that was told to go

    def _replace(self, child: Child, code: int) -> None:
        self._children.remove(child)
        self._failures = 1 if time.monotonic() - child.began > STEADY else self._failures + 1
        delay = 0.0 if self._failures == 1 else min(LONGEST, 2.0 ** (self._failures - 2))
        when = f"in {delay:g} s" if delay else "at once"
        self._note(f"The flow's process ended with {how_it_ended(code)}; another starts {when}.")
        if not delay:
            self._spawn(child)
            return
        timer = threading.Timer(delay, self._say, (child, {"event": "again"}))
        timer.daemon = True
        timer.start()
