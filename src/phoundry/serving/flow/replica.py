"""The worker that serves a deployed flow: `python -m phoundry.serving.flow.replica RUN_DIR`.

spec.json:

    name             of the deployment, for logs
    packed, sha256   the flow's files (a ZIP), and what their SHA-256 must be
    file             the flow's file in them
    chosen           {"node.input": connection}
    overrides        {"node.model": …} of llm nodes
    init             arguments of a flex flow's class; absent: none
    threads          requests at once
    timeout_seconds  of one request
    grace_seconds    that requests in flight have to end after SIGTERM
    traced           whether requests leave traces; absent: they don't
    origin           {"flow", "title", "endpoint", "deployment"}, for who takes the traces in
    token            bearer that the gateway sends; the spec file is 0600

Its standard input is `{"values": {name: connection}}`: secrets are in no file. The flow runs in a
child process, which is replaced when it dies; ready.json `{port, pid}` is written once it answers.
Traces are events `trace` of the `BoundedSpool` in `traces/` (see `tracing.Traces`).
Events: `started`, `ready {port, seconds}`, `note {message}`, `stopping`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from phoundry.errors import Conflict
from phoundry.files import sha256_file, write_json
from phoundry.flows.environments.use import interpreter_for
from phoundry.flows.load import load_flow
from phoundry.flows.session.memory import memory_of_machine
from phoundry.serving.flow.opening import Opening
from phoundry.serving.flow.packing import unpack
from phoundry.serving.flow.supervisor import Supervisor
from phoundry.serving.listen import bind, port_of
from phoundry.settings import Home
from phoundry.spool import BoundedSpool, Spool
from phoundry.worker import main

TRACES = "traces"  # the folder in the run's own


def replica(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """Unpack, start, say so, look after it until SIGTERM."""
    begun = time.monotonic()
    spool.append("started", name=spec["name"])
    private: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    packed, folder = Path(spec["packed"]), run_dir / "output" / "flow"
    if sha256_file(packed) != spec["sha256"]:
        raise Conflict(
            f"The files of the flow have changed in {packed}.", remedy="Deploy the flow again."
        )
    unpack(packed, folder)
    flow = load_flow(folder / spec["file"])
    opening = Opening(
        path=str(flow.file),
        python=interpreter_for(flow, Home.current(), lambda line: _log(line + "\n")),
        chosen=spec["chosen"],
        values=private["values"],
        overrides=spec["overrides"],
        init=spec.get("init") or {},
        key=spec["token"],
        feedback=str(run_dir / "output" / "feedback.jsonl"),
        memory_limit=memory_of_machine(),
        timeout=float(spec["timeout_seconds"]),
        grace=int(spec["grace_seconds"]),
        threads=int(spec["threads"]),
        traced=bool(spec.get("traced")),
    )
    listener = bind("127.0.0.1", 0)

    def note(text: str) -> None:
        spool.append("note", message=text)
        _log(text + "\n")

    traces = BoundedSpool(run_dir / TRACES)

    def keep(told: dict[str, Any]) -> None:
        try:
            traces.append("trace", **{key: told[key] for key in told if key != "event"})
        except OSError as error:  # a full disk costs the traces, not the flow
            _log(f"A trace was lost: {error}\n")

    supervisor = Supervisor(opening, listener, note=note, log=_log, trace=keep)
    try:
        supervisor.start()
        port = port_of(listener)
        spool.append("ready", port=port, seconds=round(time.monotonic() - begun, 3))
        write_json(run_dir / "ready.json", {"port": port, "pid": os.getpid(), "family": True})
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.ask_to_stop())  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
        supervisor.run()
        spool.append("stopping")
    finally:
        supervisor.stop()
        listener.close()
    return {}


def _log(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main(replica)
