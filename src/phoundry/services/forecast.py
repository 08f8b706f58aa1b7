"""What a fine-tune will take, before anything of it is started. Nothing is written here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import machine
from phoundry.errors import InvalidInput, PhoundryError
from phoundry.files import read_json
from phoundry.models import catalog
from phoundry.services import bases, data
from phoundry.services.context import Context
from phoundry.specs.data import DataAsset
from phoundry.specs.finetune import FineTuneParameters, resolve
from phoundry.specs.plan import Forecast
from phoundry.store.tables import JobRow, TaskRow
from phoundry.training.machine import machine_recommendation
from phoundry.training.planning.choices import load_choices
from phoundry.training.planning.estimate import USUAL_ROW, estimate_memory
from phoundry.training.planning.remedies import Needs
from phoundry.training.planning.shape import ModelShape

# English questions and answers with SmolLM2's tokenizer and template, measured on the FAQ of the
# demonstration: 3.7 as messages, 4.1 as it comes. Used until the tokenizer is here and the data are
# checked.
BYTES_PER_TOKEN = 3.8
COUNTED_BYTES = 8_000_000  # so much is rendered and counted within a second or two
PACKED = 0.95  # share of a pack that is filled, where the lengths are not known


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of one epoch. `steps`: of one epoch, where the lengths are known."""

    count: int
    exact: bool
    steps: int | None = None


def training(
    context: Context,
    model: str,
    finetune: dict[str, Any],
    *,
    asset: DataAsset | None,
    train_bytes: int,
) -> Forecast:
    """Tokens, steps, memory and time of training `model`.

    Args:
        finetune: the parameters that the user wrote.
        asset: the data where they are checked already.
        train_bytes: else, about how many bytes of them are trained on.

    Raises:
        NotFound: the model. InvalidInput: the parameters.
    """
    with context.begin("models/read") as session:
        bases.check(session, context, model)
        config = bases.config(session, context, model)
        checkpoint = bases.made(session, context, model)
    parameters, _ = resolve(
        finetune,
        model=catalog.recommended(config or model),
        machine=machine_recommendation(),
        where="finetune",
    )
    tokens = _tokens(context, parameters, checkpoint, asset, train_bytes)
    found = Forecast(epochs=parameters.num_train_epochs)
    if tokens:
        per_epoch = tokens.steps or _steps(tokens.count, parameters)
        found.tokens, found.about = tokens.count, not tokens.exact
        found.steps = parameters.steps(per_epoch)
        found.epochs = round(found.steps / per_epoch, 2)
    _add_memory(found, config, parameters)
    _add_time(context, found, model, parameters)
    return found


def _tokens(
    context: Context,
    parameters: FineTuneParameters,
    checkpoint: Path | None,
    asset: DataAsset | None,
    train_bytes: int,
) -> Tokens | None:
    if asset is not None and checkpoint is not None and asset.train.bytes <= COUNTED_BYTES:
        path = data.split_path(context, asset, "train")
        assert path is not None  # noqa: S101 - every asset has a training split
        return _counted(path, checkpoint, parameters)
    size = asset.train.bytes if asset else train_bytes
    return Tokens(round(size / BYTES_PER_TOKEN), exact=False) if size else None


def _counted(path: Path, checkpoint: Path, parameters: FineTuneParameters) -> Tokens | None:
    """Counted as the trainer will, pack by pack."""
    from phoundry.training.examples import read_samples
    from phoundry.training.packing import EpochOrder

    longest = ModelShape.from_config(_config(checkpoint)).context_length
    if parameters.max_seq_length > 0:
        longest = min(longest, parameters.max_seq_length)
    try:
        samples = read_samples(path, checkpoint, longest=longest, truncation=parameters.truncation)
    except PhoundryError:  # the job itself says why
        return None
    order = EpochOrder(
        samples.lengths,
        capacity=max([parameters.pack_length, *samples.lengths]) if parameters.packing else None,
        batch=parameters.per_device_train_batch_size * parameters.gradient_accumulation_steps,
        seed=parameters.seed,
    )
    return Tokens(samples.tokens, exact=True, steps=order.steps_per_epoch)


def _config(checkpoint: Path) -> dict[str, Any]:
    return read_json(checkpoint / "config.json") or {}


def _steps(tokens: int, parameters: FineTuneParameters) -> int:
    """Optimizer steps of one epoch with about so many tokens."""
    batch = parameters.per_device_train_batch_size * parameters.gradient_accumulation_steps
    return max(1, math.ceil(tokens / (parameters.pack_length * PACKED * batch)))


def _add_memory(
    found: Forecast, config: dict[str, Any] | None, parameters: FineTuneParameters
) -> None:
    found.available_bytes = machine.available_memory()
    if config is None:
        return
    try:
        shape = ModelShape.from_config(config)
    except KeyError as missing:
        raise InvalidInput(f"The model's config.json has no {missing}.") from None
    # As the plan chooses: the usual rows with everything kept, or what takes the least.
    batch = parameters.per_device_train_batch_size * parameters.gradient_accumulation_steps
    row_tokens = min(USUAL_ROW, parameters.pack_length * batch)
    recompute = parameters.gradient_checkpointing == "true"
    usual = estimate_memory(shape, parameters, row_tokens=row_tokens, recompute=recompute)
    least = Needs(shape, parameters).least()
    found.memory_bytes = usual if usual <= found.available_bytes else least
    found.fits = least <= found.available_bytes


def _add_time(
    context: Context, found: Forecast, model: str, parameters: FineTuneParameters
) -> None:
    """From what was measured here last with the same model and method: a job, or a plan."""
    with context.begin("jobs/read") as session:
        pinned = bases.pinned(session, context, model)
        measured = _of_jobs(session, context, pinned, parameters) or _of_plans(
            session, context, pinned, parameters
        )
    if measured is None or found.tokens is None:
        return
    found.basis, found.tokens_per_second = measured
    found.seconds = found.tokens * found.epochs / found.tokens_per_second


def _of_jobs(
    session: Session, context: Context, pinned: str, parameters: FineTuneParameters
) -> tuple[str, float] | None:
    """The newest job that ended, as it ran; else the newest that was measured at its start."""
    query = select(JobRow).filter_by(workspace=context.workspace, type="finetuning")
    query = query.order_by(JobRow.id.desc())
    rows = [
        row
        for row in session.scalars(query)
        if row.spec.get("model") == pinned and _same_method(row.parameters, parameters)
    ]
    for row in rows:
        if row.status == "Completed" and (speed := row.progress.get("tokens_per_second")):
            return f"as job {row.name} ran here", float(speed)
    for row in rows:
        if speed := _measured_at_start(row):
            return f"as measured at the start of job {row.name}", speed
    return None


def _measured_at_start(row: JobRow) -> float | None:
    try:
        choices = load_choices(Path(row.run_dir)) if row.run_dir else None
    except InvalidInput:  # damaged: the job itself says so when it goes on
        return None
    return choices.speed.tokens_per_second if choices and choices.speed else None


def _of_plans(
    session: Session, context: Context, pinned: str, parameters: FineTuneParameters
) -> tuple[str, float] | None:
    """The newest plan that is kept (`phoundry job plan`)."""
    query = select(TaskRow).filter_by(workspace=context.workspace, state="succeeded")
    plans = query.where(TaskRow.key.startswith("plan/")).order_by(TaskRow.id.desc())
    for row in session.scalars(plans):
        plan: dict[str, Any] = row.result.get("plan") or {}
        request: dict[str, Any] = read_json(Path(row.run_dir) / "request.json") or {}
        same = request.get("job", {}).get("model") == pinned
        speed = plan.get("tokens_per_second")
        if same and speed and _same_method(plan.get("parameters", {}), parameters):
            return "as a plan measured here", float(speed)
    return None


def _same_method(given: Mapping[str, Any], parameters: FineTuneParameters) -> bool:
    return given.get("apply_lora") == parameters.apply_lora
