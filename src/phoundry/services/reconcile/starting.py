"""How long a replica may take to start: one that hangs before it is ready is asked by no probe.

Azure's YAML has no startup probe: there the liveness probe goes on from `initial_delay`, and a
start may take until it has failed `failure_threshold` times. So here: the longer of both probes,
but never less than what the default ones leave, and more for what takes long to read. Probes made
short, so that a hang is found soon, shall not end a start that goes well.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from phoundry.files import read_json
from phoundry.specs.probe import Probe
from phoundry.store.tables import DeploymentRow, ReplicaRow

SECONDS_A_GIB = 60  # of memory to be filled: a disk that reads 17 MB a second
SHARED_SECONDS = 600  # more for who waits until a process has been loaded for others, too


def overdue(row: DeploymentRow, replica: ReplicaRow) -> str | None:
    """Why a replica that starts is taken to hang, as a whole sentence; None: it has time left."""
    process: dict[str, Any] = read_json(Path(replica.run_dir) / "process.json") or {}
    started = process.get("create_time")
    if not started:
        return None
    told: dict[str, Any] = read_json(Path(replica.run_dir) / "spec.json") or {}
    limit = seconds(row.spec, told)
    took = time.time() - float(started)
    if took <= limit:
        return None
    return (
        f"It was not ready {took:,.0f} s after its start; the limit is {limit:,.0f} s, and "
        "initial_delay + failure_threshold * period of a probe may raise it."
    )


def seconds(spec: dict[str, Any], told: dict[str, Any]) -> float:
    """The limit. `spec`: the deployment's; `told`: what the process was told."""
    probes = [Probe.model_validate(spec.get(name) or {}) for name in _PROBES]
    longest = max(map(_span, [Probe(), *probes]))
    shared = SHARED_SECONDS if "pool_dir" in told else 0
    return longest + SECONDS_A_GIB * int(told.get("memory_bytes") or 0) / 2**30 + shared


_PROBES = ("liveness_probe", "readiness_probe")


def _span(probe: Probe) -> int:
    return probe.initial_delay + probe.failure_threshold * probe.period
