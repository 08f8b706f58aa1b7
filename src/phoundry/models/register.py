"""Worker: a job's output, or a model trained elsewhere, becomes a version of a model in MLflow.

    python -m phoundry.models.register RUN_DIR

spec.json is `{name, tracking_uri, artifact_root, base_model?, parameters?, metrics?, tags?,
description?}` and either `{job, base_checkpoint_dir, adapter_dir or model_dir}` or `{path,
base_checkpoint_dir?}`; `base_sha256` is what the base's weights had when they were fetched.
result.json tells `{version, uri, sha256, checkpoint_dir, model_id, run_id}`. The checkpoint is
written once, where MLflow keeps it. Repeated for the same job or the same content, it finds the
version that it made.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phoundry.errors import InvalidInput
from phoundry.files import atomic_folder, sha256_file
from phoundry.models import elsewhere
from phoundry.models.adapter import FOLDER, WEIGHTS, keep
from phoundry.models.checkpoints import check_folder, copy_checkpoint, copy_tokenizer, unchanged
from phoundry.models.merge import merge
from phoundry.models.package import CHECKPOINT, write_package
from phoundry.models.registry import (
    JOB,
    KIND,
    PATH,
    SHA256,
    SOURCE,
    Registry,
    Version,
    check_name,
)
from phoundry.models.tensors import sha256_weights
from phoundry.specs.parity import REPLAY_FILE
from phoundry.spool import Spool
from phoundry.worker import main


def task(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """The worker's task (see `phoundry.worker`).

    Raises:
        InvalidInput: no valid name, or an output or path that is no model.
        ModelError: the merged model does not compute what was trained, or the base has changed.
    """
    name = str(spec["name"])
    check_name(name)
    registry = Registry(str(spec["tracking_uri"]), Path(spec["artifact_root"]))
    tags = {**_texts(spec.get("tags")), **_origin(spec, spool)}
    # What makes two registrations the same: the job and its output, or the content alone.
    same = {key: tags[key] for key in (JOB, SOURCE, KIND) if key in tags}
    spool.append("progress", message="Opening the registry.")
    with registry.locked():
        made = registry.find(name, same)
        if made:
            return _result(registry, made)
        draft = registry.draft(name, tags, _texts(spec.get("parameters")))
    with atomic_folder(draft.folder) as folder:
        checkpoint = folder / CHECKPOINT
        checkpoint.mkdir(parents=True)
        tags[SHA256], measured = _checkpoint(spec, checkpoint, spool)
        if (adapter := _adapter(spec)) is not None:
            keep(adapter, spec.get("base_sha256"), checkpoint.with_name(FOLDER))
        write_package(
            folder, name, run_id=draft.run_id, model_id=draft.model_id, metadata=dict(tags)
        )
    spool.append("progress", message="Registering.")
    metrics: dict[str, float] = {**(spec.get("metrics") or {}), **measured}
    with registry.locked():
        version = registry.publish(name, draft, tags, metrics, str(spec.get("description") or ""))
    return _result(registry, version)


def _origin(spec: dict[str, Any], spool: Spool) -> dict[str, str]:
    """Tags that tell where the version comes from."""
    tags = {"phoundry.base_model": str(spec.get("base_model") or "")}
    if "path" not in spec:
        return {**tags, JOB: str(spec["job"]), SOURCE: _source_sha256(spec)}
    found = elsewhere.look_at(Path(spec["path"]))
    spool.append("progress", message=f"Reading {found.path}.")
    return {
        **tags,
        PATH: str(found.path),
        KIND: found.kind,
        SOURCE: elsewhere.identity(found, _base(spec)),
    }


def _base(spec: dict[str, Any]) -> Path | None:
    return Path(spec["base_checkpoint_dir"]) if spec.get("base_checkpoint_dir") else None


def _checkpoint(spec: dict[str, Any], folder: Path, spool: Spool) -> tuple[str, dict[str, float]]:
    """Write the model to be registered into `folder`; its SHA-256, and what was measured."""

    def say(message: str) -> None:
        spool.append("progress", message=message)

    base = _base(spec)
    if base is not None:
        unchanged(base, spec.get("base_sha256"))
    if "path" in spec:
        return elsewhere.write(elsewhere.look_at(Path(spec["path"])), base, folder, say)
    base = Path(spec["base_checkpoint_dir"])
    _keep_replay(spec, folder)
    if not spec.get("adapter_dir"):
        copy_tokenizer(base, folder)
        copy_checkpoint(Path(spec["model_dir"]), folder)
        check_folder(folder)
        return sha256_weights(folder), {}
    # Imports torch; a full model needs no check.
    from phoundry.models.merge_check import check_merge

    adapter = Path(spec["adapter_dir"])
    say("Merging.")
    digest = merge(base, adapter, folder)
    check_folder(folder)
    say("Comparing the merged model with the trained one.")
    found = check_merge(base, adapter, folder)
    return digest, {"merge_logit_error": found.error, "merge_logit_change": found.changed}


def _adapter(spec: dict[str, Any]) -> Path | None:
    """The folder of the adapter that was merged."""
    if "path" not in spec:
        return Path(spec["adapter_dir"]) if spec.get("adapter_dir") else None
    found = elsewhere.look_at(Path(spec["path"]))
    return found.path if found.kind == "adapter" else None


def _keep_replay(spec: dict[str, Any], folder: Path) -> None:
    """What training left for the deploy gate goes with the model. Older jobs left nothing."""
    output = Path(spec.get("adapter_dir") or spec["model_dir"]).parent
    if (output / REPLAY_FILE).is_file():
        shutil.copyfile(output / REPLAY_FILE, folder / REPLAY_FILE)


def _texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    """MLflow's tags and parameters are texts."""
    return {key: str(value) for key, value in (values or {}).items()}


def _source_sha256(spec: dict[str, Any]) -> str:
    """SHA-256 of what the job made."""
    if spec.get("adapter_dir"):
        path = Path(spec["adapter_dir"]) / WEIGHTS
        if not path.is_file():
            raise InvalidInput(
                f"The job '{spec['job']}' left no adapter in {path.parent}.",
                remedy="Only a completed job can be registered: see `phoundry job show`.",
            )
        return sha256_file(path)
    return sha256_weights(Path(spec["model_dir"]))


def _result(registry: Registry, version: Version) -> dict[str, Any]:
    folder = registry.folder(version)
    return {
        "version": version.version,
        "uri": version.uri,
        "sha256": version.tags[SHA256],
        "checkpoint_dir": str(folder / CHECKPOINT),
        "model_id": version.model_id,
        "run_id": version.run_id,
    }


if __name__ == "__main__":
    main(task)
