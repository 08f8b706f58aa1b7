"""The child of a session: reads requests, runs the flow, answers. One JSON object a line.

Requests:  {"op": "open", "path", "variant", "chosen", "values", "overrides", "init",
            "memory_limit", "trace"}
           {"op": "run", "inputs", "stream": output or null, "node": name or null}
           {"op": "lines", "lines": [[number, inputs], …]}
           {"op": "aggregate", "numbers", "inputs", "values"}
           Each may have a "turn", which its answers have, too.
Answers:   {"event": "ready", "aggregates"} · {"event": "declined"} (see `alone`)
           · {"event": "failed", "error"}
           · {"event": "piece", "text"} · {"event": "result", "result", "spans",
             "printed"}
           · {"event": "lines", "results": [[number, result, inputs, aggregation inputs, names of
             those that are kept here, printed, spans (see `recorded`), started, seconds], …]}

Its first argument is the descriptor of a pipe that ends with the parent, the second, if any, is
`DESCRIPTOR,COUNT` of the slots (see `slots`): how many lines it runs at a time. The pipes are moved
away from descriptors 0 and 1 before any of the user's code is imported: what it prints goes to the
log, what it reads is empty. Secrets come in with `open` and are kept in memory only. When the
parent is gone, so is this process.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from phoundry.errors import PhoundryError
from phoundry.flows.errors import FlowError, FlowUserError, UnexpectedError
from phoundry.flows.executor import surroundings
from phoundry.flows.load import load_flow
from phoundry.flows.model import Flow
from phoundry.flows.prepare import Connections
from phoundry.flows.runner import Outcome, Runner, open_runner
from phoundry.flows.session import printing
from phoundry.flows.session.lines import Lines
from phoundry.flows.session.opening import secrets_of
from phoundry.flows.session.slots import Slots
from phoundry.flows.session.watch import Watch

Request = dict[str, Any]
# Nodes that run at once: of a single run, and of each line where many run, as in Prompt flow.
NODES_ALONE, NODES_OF_A_LINE = 16, 2


class Child:
    """Answers into the binary file `answers`; `slots` for lines that run in the session."""

    def __init__(self, answers: Any, slots: Slots | None) -> None:
        self._answers, self._slots = answers, slots
        self._lock = threading.Lock()
        self._open: tuple[Flow, Connections] | None = None
        self._runner: Runner | None = None
        self._lines: Lines | None = None
        self._around = ExitStack()
        self._watch = Watch()
        self._turn: int | None = None

    def answer(self, event: str, **data: Any) -> None:
        self._write(json.dumps({"event": event, "turn": self._turn, **data}))

    def handle(self, request: Request) -> None:
        """Answer one request; a fault of the flow is an answer, not the end of the process."""
        self._turn = request.get("turn")
        try:
            getattr(self, f"do_{request['op']}")(request)
        except FlowError as error:
            self.answer("failed", error=error.to_dict())
        except MemoryError:
            error = FlowUserError("The flow ran out of memory.")
            self.answer("failed", error=error.to_dict())
        except Exception as error:  # noqa: BLE001 - the process boundary: reported, never swallowed
            import traceback

            traceback.print_exc()
            fault = UnexpectedError(f"{type(error).__name__}: {error}")
            self.answer("failed", error=fault.to_dict())

    def do_open(self, request: Request) -> None:
        limit_memory(request.get("memory_limit"))
        self._around.close()
        connections = Connections(request["chosen"], request["values"], request["overrides"])
        flow = self._load(request)
        if flow is None:
            self.answer("declined")
            return
        if given := request.get("environment"):
            flow = replace(flow, environment_variables={**flow.environment_variables, **given})
        if flow.kind == "flex":
            from phoundry.flows.flex.definition import with_types

            flow = with_types(flow)
        self._around.enter_context(surroundings(flow, connections))
        self._open = flow, connections
        nodes = NODES_ALONE if self._slots is None else NODES_OF_A_LINE
        self._runner = open_runner(flow, connections, request.get("init"), concurrency=nodes)
        secrets = secrets_of(connections, flow, given, request.get("init"))
        self._watch = Watch(bool(request.get("trace")), secrets)
        if self._slots is not None:
            self._lines = Lines(self._runner, self._slots, self._send_lines, self._watch)
        self.answer("ready", aggregates=self._runner.aggregates)

    def _load(self, request: Request) -> Flow | None:
        """The flow; None where `alone` is asked of one that is not for it, or is faulty."""
        if not request.get("alone"):
            return load_flow(Path(request["path"]), variant=request["variant"])
        from phoundry.flows.session.alone import stands_alone

        with suppress(PhoundryError):
            flow = load_flow(Path(request["path"]))
            return flow if stands_alone(flow) else None
        return None

    def do_run(self, request: Request) -> None:
        runner, turn = self._opened(), self._turn
        if self._open is not None and (name := request.get("node")) is not None:
            from phoundry.flows.single_node import run_node

            flow, connections = self._open
            self._result(lambda: run_node(flow, connections, name, request["inputs"]))
            return
        self._result(
            lambda: runner.run(
                request["inputs"],
                # A thread that outlives its run still speaks of that one.
                on_piece=lambda text: self.answer("piece", text=text, turn=turn),
                stream_output=request["stream"],
            )
        )

    def do_lines(self, request: Request) -> None:
        if self._lines is None:
            raise FlowUserError("No lines run in this session.")
        self._lines.take(request["lines"])

    def do_aggregate(self, request: Request) -> None:
        kept = self._lines.kept if self._lines is not None else {}
        inputs: list[Any] = request["inputs"]
        values: list[Any] = request["values"]
        for place, number in enumerate(request["numbers"]):
            if number in kept:
                inputs[place] |= kept[number]["inputs"]
                values[place] |= kept[number]["values"]
        runner = self._opened()
        self._result(lambda: runner.aggregate(inputs, values))

    def _opened(self) -> Runner:
        if self._runner is None:
            raise FlowUserError("No flow is open in this session.")
        return self._runner

    def _result(self, run: Callable[[], Outcome]) -> None:
        printing.shorten_log()
        with printing.printed(self._watch.secrets) as pieces:
            outcome, spans = self._watch.run(run)
        self.answer("result", result=outcome.to_dict(), spans=spans, printed=pieces.text())

    def _send_lines(self, results: str) -> None:
        self._write(f'{{"event":"lines","results":[{results}]}}')

    def _write(self, text: str) -> None:
        with self._lock:  # pieces and lines come from threads
            self._answers.write(text.encode() + b"\n")
            self._answers.flush()


def limit_memory(limit: int | None) -> None:
    """At most `limit` bytes of address space from now on; None: no limit."""
    if limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    # Where the machine has no memory left all the same, this is the process to end.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def end_with(descriptor: int) -> None:
    """Let the kernel end this process, and what it starts, when the pipe's other end is closed.

    The end of the requests says the same, but is not read while a tool holds Python's lock.
    """
    import fcntl

    if hasattr(fcntl, "F_SETSIG"):  # Linux
        alone = os.getpgrp() != os.getpid()
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid() if alone else -os.getpgrp())
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | fcntl.FASYNC)


def main() -> None:
    life, *more = sys.argv[1:]
    sys.argv[1:] = []  # the flow's code has no arguments
    end_with(int(life))
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    printing.listen()
    waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, waiting), daemon=True).start()
    child = Child(os.fdopen(answers, "wb"), _slots(more))
    while True:
        child.handle(waiting.get())


def _slots(arguments: list[str]) -> Slots | None:
    if not arguments:
        return None
    descriptor, count = map(int, arguments[0].split(","))
    slots = Slots(descriptor, count)
    os.close(descriptor)
    return slots


def _read(descriptor: int, waiting: queue.SimpleQueue[Request]) -> None:
    """Take requests in; at the end of the input the parent is gone, and a tool may still run."""
    try:
        with os.fdopen(descriptor, "rb") as file:
            for line in file:
                waiting.put(json.loads(line))
    finally:  # also where a tool closed the pipe, or a request is beyond the memory
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)  # with what tools have started
        os._exit(0)


if __name__ == "__main__":
    main()
