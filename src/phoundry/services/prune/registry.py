"""MLflow's deleted runs. MLflow keeps them until its own garbage collection is called."""

from __future__ import annotations

import fcntl
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

from phoundry.services.prune.leftovers import weight
from phoundry.settings import Home, child_environ
from phoundry.specs.care import Prunable

KIND = "MLflow run"
SECONDS = 120.0
_QUERY = """
    select run_uuid, name, artifact_uri from runs where lifecycle_stage = 'deleted'
    and run_uuid not in (select run_id from model_versions where run_id is not null)
"""  # a run that a version of a model came from tells where it came from: it stays


def deleted(home: Home) -> Iterator[Prunable]:
    """Read from its database: importing MLflow takes seconds."""
    path = home.mlflow / "mlflow.db"
    if not path.exists():
        return
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=2)) as connection:
            rows = connection.execute(_QUERY).fetchall()
    except sqlite3.OperationalError:
        return  # of a version with other tables, or busy: nothing is lost by leaving it
    for run_id, name, artifacts in rows:
        size = weight(Path(unquote(urlparse(artifacts or "").path) or "/nowhere"))
        why = f"'{name}' was deleted in MLflow"
        yield Prunable(kind=KIND, name=run_id, bytes=size, why=why)


def remove(home: Home, runs: list[str]) -> str | None:
    """Let MLflow remove these runs for good; what went wrong, or None."""
    command = [sys.executable, "-m", "mlflow", "gc", "--run-ids", ",".join(runs)]
    command += ["--backend-store-uri", home.tracking_uri, "--tracking-uri", home.tracking_uri]
    with (home.mlflow / ".registry.lock").open("w") as lock:  # see models/registry.py
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                env=child_environ() | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            )
        except subprocess.TimeoutExpired:
            return f"MLflow did not remove its deleted runs within {SECONDS:.0f} s."
    if done.returncode == 0:
        return None
    last = (done.stderr.strip().splitlines() or ["no word"])[-1]
    return f"MLflow could not remove its deleted runs: {last}"
