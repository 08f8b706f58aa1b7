"""Registered models. MLflow is the registry; our rows refer to its versions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from phoundry.errors import Conflict, NotFound
from phoundry.services import bases
from phoundry.services.context import Context, record
from phoundry.services.rows import find, get, names
from phoundry.specs.model import CatalogModel, Model, ModelSpec
from phoundry.specs.names import split_version
from phoundry.store.tables import JobRow, ModelRow

_REMEDY = "`phoundry model list` shows what is registered."


def register(context: Context, spec: ModelSpec) -> Model:
    """Register a completed job's output as the next version of `spec.name`.

    The merge and MLflow's part run in a worker, which the reconciler starts; the version is
    `Registering` until it is done. The same job and name make no second version, but another try
    where the first one failed.

    Raises:
        Conflict: the job has not completed.
    """
    with context.begin("models/write") as session:
        remedy = "`phoundry job list` shows what there is."
        job = get(session, context, JobRow, spec.job, noun="job", remedy=remedy)
        if job.status != "Completed":
            raise Conflict(
                f"Job '{spec.job}' is {job.status}; only a completed one can be registered.",
                remedy=f"See `phoundry job show {spec.job}`.",
            )
        query = select(ModelRow).filter_by(
            workspace=context.workspace, name=spec.name, job=spec.job
        )
        for present in session.scalars(query).all():
            if present.status != "Failed":
                return view(present)
            session.delete(present)  # its number is free again for the next try
        session.flush()
        bases.retry(session, context, job.spec["model"])
        row = ModelRow(
            workspace=context.workspace,
            name=spec.name,
            version=_next_version(session, context, spec.name),
            status="Registering",
            job=spec.job,
            base_model=job.spec["model"],
            description=spec.description,
            tags=dict(spec.tags),
        )
        session.add(row)
        session.flush()
        # Numbers of deleted rows are given again: what the worker of one has left is not ours.
        shutil.rmtree(run_dir(context, row), ignore_errors=True)
        record(session, context, f"model/{row.name}", "registering", f"From job {spec.job}.")
        return view(row)


def of_job(context: Context, name: str, job: str) -> Model | None:
    """The version of `name` that was made, or is being made, from `job`."""
    with context.begin("models/read") as session:
        row = find(session, context, ModelRow, name, job=job)
        return view(row) if row else None


def run_dir(context: Context, row: ModelRow) -> Path:
    """The folder of the worker that registers this version."""
    return context.home.runs / f"register-{row.id}"


def listing(context: Context) -> list[Model]:
    """Every version of every model, newest first."""
    with context.begin("models/read") as session:
        query = select(ModelRow).filter_by(workspace=context.workspace)
        return [view(row) for row in session.scalars(query.order_by(ModelRow.id.desc()))]


def show(context: Context, reference: str) -> Model:
    """The version that `NAME` (its newest) or `NAME:VERSION` names. Raises NotFound."""
    name, version = split_version(reference)
    with context.begin("models/read") as session:
        if version is None:
            return view(get(session, context, ModelRow, name, noun="model", remedy=_REMEDY))
        row = bases.registered(session, context, reference)
        if row is None:
            if name in names(session, context, ModelRow):
                raise NotFound(f"Model '{name}' has no version '{version}'.", remedy=_REMEDY)
            return view(get(session, context, ModelRow, name, noun="model", remedy=_REMEDY))
        return view(row)


def catalog(context: Context) -> list[CatalogModel]:
    """The base models that can be named."""
    with context.begin("models/read"):
        return bases.listing()


def view(row: ModelRow) -> Model:
    own = {key: getattr(row, key) for key in Model.model_fields if hasattr(row, key)}
    return Model.model_validate({**own, "version": str(row.version)})


def _next_version(session: Session, context: Context, name: str) -> int:
    """The number that MLflow will give. One of a failed try is free again."""
    query = select(func.max(ModelRow.version)).filter_by(workspace=context.workspace, name=name)
    version = (session.scalar(query.where(ModelRow.status != "Failed")) or 0) + 1
    failed = select(ModelRow).filter_by(workspace=context.workspace, name=name)
    for row in session.scalars(failed.where(ModelRow.version >= version)).all():
        session.delete(row)
    session.flush()
    return version


def worker_spec(context: Context, row: ModelRow, job: JobRow, base: Path) -> dict[str, Any]:
    """What the worker is told (see `phoundry.models.register`). `base`: the checkpoint tuned."""
    output = Path(job.run_dir) / "output"
    adapter, model = output / "adapter", output / "model"
    return {
        "name": row.name,
        "job": job.name,
        "base_model": row.base_model,
        "base_checkpoint_dir": str(base),
        "tracking_uri": context.home.tracking_uri,
        "artifact_root": str(context.home.mlflow / "artifacts"),
        "parameters": job.parameters,
        "metrics": job.metrics,
        "description": row.description,
        "tags": {**row.tags, "phoundry.training_data": job.spec["training_data"]},
        **({"adapter_dir": str(adapter)} if adapter.exists() else {"model_dir": str(model)}),
    }
