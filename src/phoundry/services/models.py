"""Registered models. MLflow is the registry; our rows refer to its versions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from phoundry.errors import Conflict, InvalidInput, NotFound
from phoundry.models import elsewhere
from phoundry.services import bases, job_records, tasks
from phoundry.services.context import Context, record
from phoundry.services.rows import find, get, names
from phoundry.specs.job import MetricPoint
from phoundry.specs.model import Model, ModelSpec
from phoundry.specs.names import split_version
from phoundry.store.tables import EventRow, JobRow, ModelRow

# The tag that keeps where a model was that was trained elsewhere.
PATH = "phoundry.path"
CANCELLED = "phoundry.cancelled"  # of one whose job was, how far that had come
_AGAIN = "found_again"
_REMEDY = "`phoundry model list` shows what is registered."


def register(context: Context, spec: ModelSpec) -> Model:
    """Register a job's output, or a model trained elsewhere, as the next version of `spec.name`.

    Merging, copying and MLflow's part run in a worker, which the reconciler starts; the version is
    `Registering` until it is done. The same job and name make no second version, but another try
    where the first one failed, and a new one where the job went on since; the same content of a
    path is found by the worker.

    Raises:
        NotFound: the job, the path or the base model.
        Conflict: the job has not completed.
        InvalidInput: the path holds no model that can be used.
    """
    found = None if spec.path is None else elsewhere.look_at(Path(spec.path))
    with context.begin("models/write") as session:
        origin = (
            _of_job(session, context, spec)
            if found is None
            else _of_path(session, context, spec, found)
        )
        same = select(ModelRow).filter_by(workspace=context.workspace, name=spec.name, **origin)
        for present in session.scalars(same).all():
            if not _same_path(present, found) or _outdated(session, context, present):
                continue
            # What is at a path may be another model by now: the worker looks.
            if present.status == "Registering" or (found is None and present.status == "Ready"):
                return view(present)
            if present.status == "Failed":
                session.delete(present)  # its number is free again for the next try
        session.flush()
        if origin["base_model"]:
            bases.retry(session, context, origin["base_model"])
        row = ModelRow(
            workspace=context.workspace,
            name=spec.name,
            version=_next_version(session, context, spec.name),
            status="Registering",
            **origin,
            description=spec.description,
            tags={**spec.tags, **_origin_tags(session, context, spec, found)},
        )
        session.add(row)
        session.flush()
        # Numbers of deleted rows are given again: what the worker of one has left is not ours.
        shutil.rmtree(run_dir(context, row), ignore_errors=True)
        source = f"job {spec.job}" if found is None else str(found.path)
        record(session, context, f"model/{row.name}", "registering", f"From {source}.")
        return view(row)


def _of_job(session: Session, context: Context, spec: ModelSpec) -> dict[str, str | None]:
    remedy = "`phoundry job list` shows what there is."
    job = get(session, context, JobRow, str(spec.job), noun="job", remedy=remedy)
    if job.type != "finetuning":
        raise Conflict(
            f"Job '{spec.job}' is a {job.type} job; only a fine-tune has a model to register.",
            remedy=remedy,
        )
    kept = job.status == "Canceled" and job_records.kept_output(Path(job.run_dir))
    if job.status != "Completed" and not kept:
        raise Conflict(
            f"Job '{spec.job}' is {job.status}; only a completed one can be registered, or a "
            "cancelled one that had time to keep its best state.",
            remedy=f"See `phoundry job show {spec.job}`.",
        )
    return {"job": job.name, "base_model": job.spec["model"]}


def _origin_tags(
    session: Session, context: Context, spec: ModelSpec, found: elsewhere.Found | None
) -> dict[str, str]:
    if found is not None:
        return {PATH: str(found.path)}
    job = get(session, context, JobRow, str(spec.job), noun="job")
    if job.status != "Canceled":
        return {}
    progress = job.progress
    return {CANCELLED: f"at step {progress.get('step', 0)} of {progress.get('max_steps', 0)}"}


def _of_path(
    session: Session, context: Context, spec: ModelSpec, found: elsewhere.Found
) -> dict[str, str | None]:
    if found.kind != "adapter":
        if spec.base:
            raise InvalidInput(
                f"{found.path} holds a whole model; only an adapter has a base.",
                remedy="Leave --base out.",
            )
        return {"job": None, "base_model": None}
    if found.revision and not spec.base:
        raise InvalidInput(
            f"The adapter was trained on the revision '{found.revision}' of '{found.base}'; only "
            "a model's newest one is fetched here.",
            remedy=f"Download that revision (`hf download {found.base} --revision "
            f"{found.revision} --local-dir FOLDER`) and name it: --base FOLDER.",
        )
    base = spec.base or (found.base and (elsewhere.recorded_base(found.base) or found.base))
    if not base:
        raise InvalidInput(
            f"{found.path} does not say which base model it belongs to.",
            remedy="Name it with --base: a catalog name, a hub id, or a folder.",
        )
    try:
        bases.check(session, context, base)
    except NotFound as error:
        if spec.base:
            raise
        raise NotFound(
            f"The adapter names its base model '{base}', which is not to be found. {error.message}",
            remedy="Name it with --base: a catalog name, a hub id, or a folder on this machine. "
            f"{error.remedy or ''}".strip(),
        ) from None
    return {"job": None, "base_model": bases.pinned(session, context, base)}


def _same_path(row: ModelRow, found: elsewhere.Found | None) -> bool:
    return found is None or row.tags.get(PATH) == str(found.path)


def _outdated(session: Session, context: Context, row: ModelRow) -> bool:
    """Whether the job went on after this version was made of it."""
    job = find(session, context, JobRow, row.job) if row.job else None
    ended = job.finished_at if job else None
    return ended is not None and row.created_at < ended


def of_job(context: Context, name: str, job: str) -> Model | None:
    """The version of `name` that was made, or is being made, from what `job` last came to."""
    with context.begin("models/read") as session:
        row = find(session, context, ModelRow, name, job=job)
        if row is None or _outdated(session, context, row):
            return None
        return _watched(session, context, row)


def run_dir(context: Context, row: ModelRow) -> Path:
    """The folder of the worker that registers this version."""
    return context.home.runs / f"register-{row.id}"


def listing(context: Context) -> list[Model]:
    """Every version of every model, newest first."""
    with context.begin("models/read") as session:
        query = select(ModelRow).filter_by(workspace=context.workspace)
        rows = session.scalars(query.order_by(ModelRow.id.desc())).all()
        return [_watched(session, context, row) for row in rows]


def show(context: Context, reference: str) -> Model:
    """The version that `NAME` (its newest) or `NAME:VERSION` names. Raises NotFound."""
    name, version = split_version(reference)
    with context.begin("models/read") as session:
        if version is None:
            row = get(session, context, ModelRow, name, noun="model", remedy=_REMEDY)
            return _watched(session, context, row)
        row = bases.registered(session, context, reference)
        if row is None:
            if same := _found_again(session, context, name, version):
                return view(same)
            if name in names(session, context, ModelRow):
                raise NotFound(f"Model '{name}' has no version '{version}'.", remedy=_REMEDY)
            return view(get(session, context, ModelRow, name, noun="model", remedy=_REMEDY))
        return _watched(session, context, row)


def _watched(session: Session, context: Context, row: ModelRow) -> Model:
    """As `view`, with what is being done to register it."""
    model = view(row)
    if row.status != "Registering":
        return model
    if row.updated_at is not None:  # its worker was started
        model.preparation = tasks.latest(run_dir(context, row))
    elif row.base_model:
        model.preparation = bases.preparation(session, context, row.base_model)
    return model


def view(row: ModelRow) -> Model:
    own = {key: getattr(row, key) for key in Model.model_fields if hasattr(row, key)}
    tags = {key: value for key, value in row.tags.items() if key != PATH}
    path = row.tags.get(PATH)
    return Model.model_validate({**own, "version": str(row.version), "path": path, "tags": tags})


def found_again(session: Session, context: Context, row: ModelRow, present: ModelRow) -> None:
    """Forget `row`: what it was to register is `present` already, the same bytes.

    Whoever waits for it asks by its number, and is shown the other one until that number is given
    to another version.
    """
    record(
        session,
        context,
        f"model/{row.name}",
        _AGAIN,
        f"{row.tags.get(PATH)} is version {present.version} already.",
        asked=row.version,
        version=present.version,
    )
    session.delete(row)


def _found_again(session: Session, context: Context, name: str, version: str) -> ModelRow | None:
    query = select(EventRow).filter_by(
        workspace=context.workspace, resource=f"model/{name}", kind=_AGAIN
    )
    for event in session.scalars(query.order_by(EventRow.id.desc())):
        if str(event.data.get("asked")) == version:
            return find(session, context, ModelRow, name, version=event.data["version"])
    return None


def _next_version(session: Session, context: Context, name: str) -> int:
    """The number that MLflow will give. One of a failed try is free again."""
    query = select(func.max(ModelRow.version)).filter_by(workspace=context.workspace, name=name)
    version = (session.scalar(query.where(ModelRow.status != "Failed")) or 0) + 1
    failed = select(ModelRow).filter_by(workspace=context.workspace, name=name)
    for row in session.scalars(failed.where(ModelRow.version >= version)).all():
        session.delete(row)
    session.flush()
    return version


def worker_spec(
    context: Context, row: ModelRow, job: JobRow | None, base: Path | None, sha256: str | None
) -> dict[str, Any]:
    """What the worker is told (see `phoundry.models.register`).

    `base`: the checkpoint tuned, whose weights had `sha256` when they were fetched or registered.
    """
    common = {
        "name": row.name,
        "base_model": row.base_model,
        "tracking_uri": context.home.tracking_uri,
        "artifact_root": str(context.home.mlflow / "artifacts"),
        "description": row.description,
        **({"base_checkpoint_dir": str(base), "base_sha256": sha256} if base else {}),
    }
    if job is None:
        own = {key: value for key, value in row.tags.items() if key != PATH}
        return {**common, "path": row.tags[PATH], "tags": own}
    output = Path(job.run_dir) / "output"
    adapter, model = output / "adapter", output / "model"
    return {
        **common,
        "job": job.name,
        "parameters": job.parameters,
        "metrics": _summary(job),
        "tags": {**row.tags, "phoundry.training_data": job.spec["training_data"]},
        **({"adapter_dir": str(adapter)} if adapter.exists() else {"model_dir": str(model)}),
    }


def _summary(job: JobRow) -> dict[str, float]:
    """What is known of a job as a whole. Its curves are told to MLflow by the steps that they have
    (see `reconcile.curves`), and a last value at no step would spoil them."""
    return {key: value for key, value in job.metrics.items() if key not in MetricPoint.model_fields}
