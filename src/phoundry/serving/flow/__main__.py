"""The process that serves a flow: `python -P -m phoundry.serving.flow LISTENING_DESCRIPTOR`.

The first line of its input is an `Opening`. It answers on its output, one JSON object a line:
{"event": "ready"} · {"event": "failed", "error"} · {"event": "stuck"} · {"event": "trace", …}
What the user's code prints goes to standard error. When its input ends, so does the process:
whoever started it is gone.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

# Before the flow's folder is on the import path: a file of its may be called as these are.
import httptools  # noqa: F401  # pyright: ignore[reportUnusedImport]
import uvicorn.protocols.http.httptools_impl  # noqa: F401  # pyright: ignore[reportUnusedImport]
import uvloop  # noqa: F401  # pyright: ignore[reportUnusedImport]

from phoundry.errors import PhoundryError
from phoundry.flows.errors import UnexpectedError
from phoundry.serving.flow.access import Access
from phoundry.serving.flow.app import FlowApp
from phoundry.serving.flow.hosted import Hosted, opened
from phoundry.serving.flow.opening import Opening
from phoundry.serving.flow.pool import Pool
from phoundry.serving.listen import run, serve


class Parent:
    """Who started this process."""

    def __init__(self, answers: BinaryIO) -> None:
        self._answers, self._lock = answers, threading.Lock()

    def tell(self, event: str, **data: Any) -> None:
        line = json.dumps({"event": event, **data}).encode() + b"\n"
        with self._lock:  # traces come from the flow's threads
            self._answers.write(line)
            self._answers.flush()


def main() -> None:
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    asked = os.fdopen(requests, "rb")
    opening = Opening.of(json.loads(asked.readline()))
    threading.Thread(target=_until_gone, args=(asked,), daemon=True).start()
    parent = Parent(os.fdopen(answers, "wb"))
    listener = socket.socket(fileno=int(sys.argv[1]))
    if opening.memory_limit is not None:
        resource.setrlimit(resource.RLIMIT_AS, (opening.memory_limit, opening.memory_limit))
    try:
        with opened(opening, parent.tell) as hosted:
            run(_serve(hosted, opening, listener, parent))
    except PhoundryError as error:
        parent.tell("failed", error=error.to_dict())
    except Exception as error:  # noqa: BLE001 - the process boundary: reported, never swallowed
        import traceback

        traceback.print_exc()
        fault = UnexpectedError(f"{type(error).__name__}: {error}")
        parent.tell("failed", error=fault.to_dict())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a tool that hangs in its thread shall not keep the process


async def _serve(hosted: Hosted, opening: Opening, listener: socket.socket, parent: Parent) -> None:
    pool = Pool(opening.threads, opening.timeout, lambda: parent.tell("stuck"))
    access = Access(opening.key, opening.names)
    app = FlowApp(
        hosted,
        pool,
        access,
        static=Path(opening.static) if opening.static else None,
        feedback=Path(opening.feedback) if opening.feedback else None,
    )

    async def started() -> None:
        parent.tell("ready")

    try:
        await serve(app, listener, started=started, stopping=_nothing, grace_seconds=opening.grace)
    finally:
        pool.close()


def _until_gone(asked: BinaryIO) -> None:
    while asked.read(4096):
        pass
    os._exit(0)


def _nothing() -> None:
    return None


if __name__ == "__main__":
    main()
