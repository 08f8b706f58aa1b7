"""Worker: a job's output becomes a version of a model in MLflow.

    python -m phoundry.models.register RUN_DIR

spec.json is `{name, job, base_model, base_checkpoint_dir, adapter_dir? or model_dir, tracking_uri,
artifact_root, parameters, metrics, tags, description}`; result.json tells `{version, uri, sha256,
checkpoint_dir, model_id, run_id}`. The merged checkpoint is written once, where MLflow keeps it.
Repeated for the same job, it finds the version that it made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phoundry.errors import InvalidInput
from phoundry.files import atomic_folder, sha256_file
from phoundry.models.checkpoints import check_folder, copy_checkpoint, copy_tokenizer
from phoundry.models.merge import WEIGHTS, merge
from phoundry.models.package import CHECKPOINT, write_package
from phoundry.models.registry import JOB, SHA256, SOURCE, Registry, Version, check_name
from phoundry.models.tensors import sha256_weights
from phoundry.spool import Spool
from phoundry.worker import main


def task(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """The worker's task (see `phoundry.worker`).

    Raises:
        InvalidInput: no valid name, or an output that is no model.
        ModelError: the merged model does not compute what was trained.
    """
    name = str(spec["name"])
    check_name(name)
    registry = Registry(str(spec["tracking_uri"]), Path(spec["artifact_root"]))
    source = _source_sha256(spec)
    tags = {
        **_texts(spec.get("tags")),
        JOB: str(spec["job"]),
        SOURCE: source,
        "phoundry.base_model": str(spec.get("base_model") or ""),
    }
    spool.append("progress", message="Opening the registry.")
    with registry.locked():
        made = registry.find(name, {JOB: tags[JOB], SOURCE: source})
        if made:
            return _result(registry, made)
        draft = registry.draft(name, tags, _texts(spec.get("parameters")))
    spool.append("progress", message="Merging.")
    with atomic_folder(draft.folder) as folder:
        checkpoint = folder / CHECKPOINT
        checkpoint.mkdir(parents=True)
        tags[SHA256], measured = _checkpoint(spec, checkpoint, spool)
        write_package(
            folder, name, run_id=draft.run_id, model_id=draft.model_id, metadata=dict(tags)
        )
    spool.append("progress", message="Registering.")
    metrics: dict[str, float] = {**(spec.get("metrics") or {}), **measured}
    with registry.locked():
        version = registry.publish(name, draft, tags, metrics, str(spec.get("description") or ""))
    return _result(registry, version)


def _checkpoint(spec: dict[str, Any], folder: Path, spool: Spool) -> tuple[str, dict[str, float]]:
    """Write the model to be registered into `folder`; its SHA-256, and what was measured."""
    base = Path(spec["base_checkpoint_dir"])
    if not spec.get("adapter_dir"):
        copy_tokenizer(base, folder)
        copy_checkpoint(Path(spec["model_dir"]), folder)
        check_folder(folder)
        return sha256_weights(folder), {}
    # Imports torch; a full model needs no check.
    from phoundry.models.merge_check import check_merge

    adapter = Path(spec["adapter_dir"])
    digest = merge(base, adapter, folder)
    check_folder(folder)
    spool.append("progress", message="Comparing the merged model with the trained one.")
    found = check_merge(base, adapter, folder)
    return digest, {"merge_logit_error": found.error, "merge_logit_change": found.changed}


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
