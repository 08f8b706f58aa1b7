"""Fine-tuning jobs."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import machine, workers
from phoundry.errors import Conflict, InvalidInput
from phoundry.models import catalog
from phoundry.services import bases, data, data_diff
from phoundry.services.context import Context, history, now, record
from phoundry.services.rows import find, get
from phoundry.specs.finetune import FineTuneParameters, resolve
from phoundry.specs.job import FINISHED, FineTuningJobSpec, Job, LogChunk
from phoundry.store.tables import JobRow
from phoundry.training.estimate import ModelShape, check_memory, estimate_memory
from phoundry.training.machine import machine_recommendation

_REMEDY = "`phoundry job list` shows what there is."


def create(context: Context, spec: FineTuningJobSpec) -> Job:
    """Queue a job. Everything that can be known to fail is refused here, before anything starts.

    Raises:
        NotFound: the model or the data.
        InvalidInput: the parameters, all faults together.
        InsufficientResources: the training does not fit this machine's memory.
        Conflict: the name is taken.
    """
    pins, data_notices = _pin_data(context, spec)
    with context.begin("models/read") as session:
        bases.check(session, context, spec.model)
        config = bases.config(session, context, spec.model)
    parameters, sources = resolve(
        spec.hyperparameters,
        model=catalog.recommended(config or spec.model),
        machine=machine_recommendation(),
        where="hyperparameters",
    )
    if config is not None:  # else the worker checks once it has the model's files
        check_memory(_estimate(config, parameters), machine.available_memory())
    name = spec.name or f"{_stem(spec.model)}-{secrets.token_hex(4)}"
    with context.begin("jobs/write") as session:
        bases.retry(session, context, spec.model)
        if find(session, context, JobRow, name):
            raise Conflict(
                f"There is a job '{name}' already.", remedy="Choose another name, or none."
            )
        pins["model"] = bases.pinned(session, context, spec.model)
        pinned = spec.model_copy(update=pins)
        row = JobRow(
            workspace=context.workspace,
            name=name,
            status="Queued",
            spec=pinned.model_dump(mode="json", by_alias=True),
            parameters=parameters.model_dump(mode="json"),
            sources=dict(sources),
            notices=[*_notices(spec, parameters), *data_notices],
            run_dir=str(context.home.run("job", name)),
        )
        session.add(row)
        record(session, context, f"job/{name}", "queued", "Queued.")
        session.flush()
        return view(row)


def listing(context: Context) -> list[Job]:
    with context.begin("jobs/read") as session:
        query = select(JobRow).filter_by(workspace=context.workspace)
        rows = session.scalars(query.order_by(JobRow.id.desc())).all()
        return [_watched(session, context, row) for row in rows]


def show(context: Context, name: str) -> Job:
    with context.begin("jobs/read") as session:
        row = get(session, context, JobRow, name, noun="job", remedy=_REMEDY)
        job = _watched(session, context, row)
        job.events = history(session, context, f"job/{name}")
        return job


def cancel(context: Context, name: str) -> Job:
    """Ask a job to stop; it keeps its last checkpoint. A finished job is left as it is."""
    with context.begin("jobs/cancel") as session:
        row = get(session, context, JobRow, name, noun="job", remedy=_REMEDY)
        if row.status in FINISHED:
            raise Conflict(
                f"Job '{name}' has ended already ({row.status}).",
                remedy=f"See `phoundry job show {name}`.",
            )
        if row.status != "CancelRequested":
            # One that is queued may have a process too, which a stopped Phoundry told to end.
            if workers.terminate(Path(row.run_dir)) or row.status == "Running":
                row.status, row.stopping_since = "CancelRequested", now()
            else:
                row.status, row.finished_at = "Canceled", now()
        record(session, context, f"job/{name}", "cancel", "Cancelling was asked for.")
        return view(row)


def resume(context: Context, name: str) -> Job:
    """Queue an ended job again; it goes on from its last checkpoint.

    Raises:
        Conflict: the job is completed or has not ended.
    """
    with context.begin("jobs/write") as session:
        row = get(session, context, JobRow, name, noun="job", remedy=_REMEDY)
        if row.status not in ("Failed", "Canceled"):
            raise Conflict(
                f"Job '{name}' is {row.status}; only a failed or cancelled one can be resumed.",
                remedy=f"See `phoundry job show {name}`.",
            )
        bases.retry(session, context, row.spec["model"])
        (Path(row.run_dir) / "result.json").unlink(missing_ok=True)
        row.status, row.error, row.finished_at, row.stopping_since = "Queued", None, None, None
        record(session, context, f"job/{name}", "resumed", "Queued again.")
        return view(row)


def logs(context: Context, name: str, offset: int = 0) -> LogChunk:
    """What the job's process wrote, from byte `offset` on."""
    job = show(context, name)
    return read_log(Path(job.run_dir) / "log.txt", offset, finished=job.status in FINISHED)


def read_log(path: Path, offset: int, *, finished: bool, limit: int = 1 << 20) -> LogChunk:
    """Up to `limit` bytes of a log, cut at a line's end while it still grows."""
    if not path.exists():
        return LogChunk(text="", offset=offset, finished=finished)
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(limit)
    full = len(content) == limit
    if full or not finished:
        whole = content[: content.rfind(b"\n") + 1]
        content = whole if whole or not full else content  # a line may be longer than the limit
    text = content.decode(errors="replace")
    return LogChunk(text=text, offset=offset + len(content), finished=finished and not full)


def view(row: JobRow) -> Job:
    spec = row.spec
    own = {key: getattr(row, key) for key in Job.model_fields if hasattr(row, key)}
    return Job.model_validate(
        {
            **own,
            "model": spec["model"],
            "training_data": spec["training_data"],
            "validation_data": spec.get("validation_data"),
            "display_name": spec.get("display_name", ""),
            "tags": spec.get("tags", {}),
        }
    )


def _watched(session: Session, context: Context, row: JobRow) -> Job:
    """As `view`, with how far the base model has come that the job waits for."""
    job = view(row)
    if row.status == "Preparing":
        job.preparation = bases.preparation(session, context, row.spec["model"])
    return job


def _pin_data(context: Context, spec: FineTuningJobSpec) -> tuple[dict[str, str], list[str]]:
    """The versions that the job's data stand for now, and what is worth saying about them.

    Raises:
        NotFound: there is no such data.
        InvalidInput: they are no conversations.
    """
    training = data.show(context, spec.training_data)
    pins = {"training_data": f"{training.name}:{training.version}"}
    data.check_chats(training)
    if not spec.validation_data:
        return pins, []
    validation = data.show(context, spec.validation_data)
    pins["validation_data"] = f"{validation.name}:{validation.version}"
    data.check_chats(validation)
    shared = data_diff.shared_rows(context, training, validation)
    if not shared:
        return pins, []
    said = (
        f"{shared:,} of the {validation.train.rows:,} rows of {pins['validation_data']} are also "
        f"trained on: the validation loss will look better than it is."
    )
    return pins, [said]


def _estimate(config: dict[str, Any], parameters: FineTuneParameters) -> int:
    try:
        shape = ModelShape.from_config(config)
    except KeyError as missing:
        raise InvalidInput(
            f"The model's config.json has no {missing}.",
            remedy="Only decoder models can be trained: see `phoundry model list --catalog`.",
        ) from None
    row_tokens = parameters.pack_length * parameters.per_device_train_batch_size
    return estimate_memory(shape, parameters, row_tokens=row_tokens)


def _notices(spec: FineTuningJobSpec, parameters: FineTuneParameters) -> list[Any]:
    where = spec.compute or ", ".join(map(str, spec.resources.get("instance_types", [])))
    said = [f"compute '{where}' is recorded; the job runs on this machine."] if where else []
    if spec.outputs:
        remedy = "once the job is completed, run `phoundry model register NAME --job JOB`."
        said.append(f"outputs are recorded, and nothing is registered by them; {remedy}")
    if parameters.apply_lora and not parameters.merge_lora_weights:
        said.append(
            "merge_lora_weights is false: the adapter stays by itself in output/adapter of the "
            "job's folder; a registered version is merged all the same."
        )
    return said


def _stem(model: str) -> str:
    """The beginning of a name for a job that got none."""
    entry = catalog.find(model) if "://" in model else None
    if entry is not None:  # an address ends in a version or a branch
        return entry.name
    stem = Path(model.removeprefix("models:/")).name.split(":")[0].lower()
    return "".join(char if char.isalnum() else "-" for char in stem).strip("-")[:40] or "job"
