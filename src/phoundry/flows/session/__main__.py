"""The child of a session: reads requests, runs the flow, answers. One JSON object a line.

Requests:  {"op": "open", "path", "variant", "chosen", "values", "overrides", "memory_limit"}
           {"op": "run", "inputs", "stream": output or null}
Answers:   {"event": "ready"} · {"event": "failed", "error"} · {"event": "piece", "text"}
           · {"event": "result", "result"}

The pipes are moved away from descriptors 0 and 1 before any of the user's code is imported: what
it prints goes to the log, what it reads is empty. Secrets come in with `open` and are kept in
memory only. When the parent is gone, so is this process.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phoundry.flows.errors import FlowError, FlowUserError, UnexpectedError
from phoundry.flows.executor import Executor, surroundings
from phoundry.flows.load import load_flow
from phoundry.flows.prepare import Connections

Request = dict[str, Any]


@dataclass(slots=True)
class Child:
    answers: Any  # a binary file
    lock: threading.Lock = field(default_factory=threading.Lock)
    executor: Executor | None = None
    around: ExitStack = field(default_factory=ExitStack)

    def answer(self, event: str, **data: Any) -> None:
        line = json.dumps({"event": event, **data}, ensure_ascii=False).encode() + b"\n"
        with self.lock:  # pieces come from nodes' threads
            self.answers.write(line)
            self.answers.flush()

    def handle(self, request: Request) -> None:
        """Answer one request; a fault of the flow is an answer, not the end of the process."""
        try:
            if request["op"] == "open":
                self.open(request)
            else:
                self.run(request)
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

    def open(self, request: Request) -> None:
        limit_memory(request.get("memory_limit"))
        self.around.close()
        connections = Connections(request["chosen"], request["values"], request["overrides"])
        flow = load_flow(Path(request["path"]), variant=request["variant"])
        self.around.enter_context(surroundings(flow, connections))
        self.executor = Executor(flow, connections)
        self.answer("ready")

    def run(self, request: Request) -> None:
        if self.executor is None:
            raise FlowUserError("No flow is open in this session.")
        outcome = self.executor.run(
            request["inputs"],
            on_piece=lambda text: self.answer("piece", text=text),
            stream_output=request["stream"],
        )
        self.answer("result", result=outcome.to_dict())


def limit_memory(limit: int | None) -> None:
    """At most `limit` bytes of address space from now on; None: no limit."""
    if limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, waiting), daemon=True).start()
    child = Child(os.fdopen(answers, "wb"))
    while True:
        child.handle(waiting.get())


def _read(descriptor: int, waiting: queue.SimpleQueue[Request]) -> None:
    """Take requests in; at the end of the input the parent is gone, and a tool may still run."""
    with os.fdopen(descriptor, "rb") as file:
        for line in file:
            waiting.put(json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    main()
