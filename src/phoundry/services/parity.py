"""The deploy gate's rules: what a result is remembered by, who gets traffic, what is shown.

`reconcile/gate.py` runs it; `serving/parity` compares. While a deployment's gate is `pending` or
`failed` it gets no live traffic, and is reachable by the pin header.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import machine, workers
from phoundry.data.checkpoint import TOKENIZER_FILES
from phoundry.errors import Conflict
from phoundry.files import read_json, sha256_files, write_json
from phoundry.models import gguf_record
from phoundry.services import bases, revisions, tasks
from phoundry.services.context import Context, record
from phoundry.services.deployment_rows import note, row_of
from phoundry.services.rows import find
from phoundry.serving.parity.tolerances import VERSION
from phoundry.settings import Home
from phoundry.specs.base import Preparation
from phoundry.specs.endpoint import Traffic
from phoundry.specs.parity import REPLAY_FILE, Parity, ParityReport
from phoundry.store.tables import DeploymentRow, EndpointRow, ReplicaRow

# Whose version is a part of what was proven.
_PACKAGES = {
    "llama.cpp": "xllamacpp",
    "transformers": "transformers",
    "openvino": "openvino-genai",
    "vllm": "vllm",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be proven of one replica: the worker's spec, and by what a result is known."""

    key: str
    spec: dict[str, Any]


def run_dir(context: Context, row: DeploymentRow) -> Path:
    """The folder of the worker that proves a deployment."""
    return context.home.run("parity", row.endpoint, row.name)


def subject(
    session: Session, context: Context, row: DeploymentRow, replica: ReplicaRow
) -> Subject | None:
    """What the process of `replica` serves, as it was told; None where it has just ended."""
    told: dict[str, Any] = read_json(Path(replica.run_dir) / "spec.json") or {}
    ready = workers.inspect(Path(replica.run_dir)).ready or {}
    if not told or "port" not in ready:
        return None
    checkpoint, gguf = Path(told["tokenizer_dir"]), told.get("gguf_path")
    weights = bases.recorded_sha256(session, context, checkpoint)
    quantization = revisions.spec_of(row, replica.revision).get("quantization")
    parts = [
        f"rules {VERSION}",
        weights or _stamps(sorted(checkpoint.glob("*.safetensors"))),
        _digest(checkpoint / name for name in (*TOKENIZER_FILES, REPLAY_FILE)),
        _gguf(Path(gguf)) if gguf else "none",
        *([_stamps([Path(told["adapter_path"])])] if "adapter_path" in told else []),
        f"{told['engine']} {_version(told['engine'])} {quantization}",
        # A conversation that does not fit is left out.
        str(told["context_length"]),
    ]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    spec = {
        "key": key,
        "checkpoint_dir": str(checkpoint),
        "replica_url": f"http://127.0.0.1:{ready['port']}",
        "token": context.vault.decrypt(replica.token),
        "engine": told["engine"],
        "quantization": quantization,
        "context_length": told["context_length"],
        "threads": machine.cores(),
    }
    return Subject(key, spec)


def remembered(home: Home, key: str) -> ParityReport | None:
    """The report of what passed before and is the same. What failed is never remembered."""
    try:
        found = read_json(_memory(home, key))
        return None if found is None else ParityReport.model_validate(found)
    except ValueError:
        return None  # damaged: it is proven again


def remember(home: Home, key: str, report: ParityReport) -> None:
    if report.passed:
        write_json(_memory(home, key), report.model_dump(mode="json"))


def show(context: Context, endpoint: str, name: str) -> Parity:
    """The gate of a deployment. Raises NotFound."""
    with context.begin("deployments/read") as session:
        row = row_of(session, context, endpoint, name)
        found = row.parity or {}
        return Parity.model_validate(
            {**found, "deployment": f"{endpoint}/{name}", "gate": row.gate}
        )


def preparation(context: Context, row: DeploymentRow) -> Preparation | None:
    """How far the gate is, while its worker runs."""
    folder = run_dir(context, row)
    if row.gate != "pending" or not workers.inspect(folder).running:
        return None
    return tasks.latest(folder)


def check_traffic(
    endpoint: str, deployments: Iterable[DeploymentRow], live: Traffic, now: Traffic
) -> None:
    """Raise Conflict where a share is given to what has not passed the gate.

    What has live traffic already keeps it: an older revision of it serves.
    """
    for row in deployments:
        if not live.get(row.name) or now.get(row.name) or revisions.trusted(row):
            continue
        name = f"{endpoint}/{row.name}"
        if row.gate == "pending":
            raise Conflict(
                f"'{name}' has not passed the deploy gate yet, so it gets no live traffic.",
                remedy=f"`phoundry deployment show {name}` shows how far it is; the header "
                f"azureml-model-deployment: {row.name} reaches it meanwhile.",
            )
        raise Conflict(
            f"'{name}' does not answer as the model that was trained, so it gets no live traffic.",
            remedy=f"`phoundry deployment show {name} --parity` shows where they part. To send it "
            f"traffic all the same: `phoundry deployment update {name} --no-gate`.",
        )


def open_first(session: Session, context: Context, row: DeploymentRow) -> None:
    """Give an endpoint's first deployment all traffic, once it may have it.

    Not where the traffic was shared out since, nor where it had some before (its user took it).
    """
    endpoint = find(session, context, EndpointRow, row.endpoint)
    if endpoint is None or any(endpoint.traffic.values()) or revisions.was_open(row):
        return
    query = select(DeploymentRow.id).filter_by(workspace=context.workspace, endpoint=row.endpoint)
    others = query.where(DeploymentRow.id < row.id, DeploymentRow.state != "Deleting")
    if session.scalar(others.limit(1)) is None:
        endpoint.traffic = {row.name: 100}
        text = f"Traffic: {row.name} 100 %."
        record(session, context, f"endpoint/{row.endpoint}", "traffic", text)


def skip(session: Session, context: Context, row: DeploymentRow) -> None:
    """Let a deployment through without a proof, and write that down."""
    row.gate, row.parity = "skipped", None
    workers.terminate(run_dir(context, row))  # nobody waits for what it finds
    note(session, context, row, "gate_skipped", "It may get traffic without a proof.")
    open_first(session, context, row)


def again(context: Context, row: DeploymentRow) -> None:
    """Let a gate that failed be tried once more."""
    if row.gate == "failed":
        row.gate = "pending"
        ask_anew(context, row)


def ask_anew(context: Context, row: DeploymentRow) -> None:
    """Take in nothing that the worker found before: who asks again may have mended what failed."""
    workers.terminate(run_dir(context, row))
    (run_dir(context, row) / "spec.json").unlink(missing_ok=True)


def forget(context: Context, row: DeploymentRow) -> None:
    """End the worker of a deployment that goes, and remove its folder."""
    workers.kill(run_dir(context, row))
    shutil.rmtree(run_dir(context, row), ignore_errors=True)


def _memory(home: Home, key: str) -> Path:
    return home.cache / "parity" / f"{key}.json"


def _digest(paths: Iterable[Path]) -> str:
    """Of the names and bytes of those that are there."""
    there = [path for path in paths if path.is_file()]
    return f"{[path.name for path in there]} {_hashed(tuple(there), _stamps(there))}"


@lru_cache(maxsize=32)
def _hashed(paths: tuple[Path, ...], stamps: str) -> str:
    """Read once while their stamps stay: a gate that waits asks several times a second."""
    return sha256_files(paths)


def _gguf(path: Path) -> str:
    """The file's recorded hash, and its stamp: gigabytes are not read for this."""
    found = gguf_record.recorded(path) or {}
    return f"{found.get('sha256')} {_stamps([path])}"


def _stamps(paths: Iterable[Path]) -> str:
    found = [(path.name, path.stat()) for path in paths if path.is_file()]
    return " ".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in found)


def _version(engine: str) -> str | None:
    try:
        return importlib.metadata.version(_PACKAGES.get(engine, engine))
    except importlib.metadata.PackageNotFoundError:
        return None
