"""What of a fine-tune can be known before it is started: shared by creating it and planning it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from phoundry.compute import machine
from phoundry.errors import InvalidInput
from phoundry.models import catalog
from phoundry.services import bases, data, data_diff
from phoundry.services.context import Context
from phoundry.services.job_templates import check_tools
from phoundry.specs.data import DataAsset
from phoundry.specs.finetune import FineTuneParameters, Source, notices, resolve
from phoundry.specs.job import FineTuningJobSpec
from phoundry.training.machine import machine_recommendation
from phoundry.training.planning.remedies import Needs
from phoundry.training.planning.remedies import check_fits as check_needs
from phoundry.training.planning.shape import ModelShape


@dataclass(frozen=True, slots=True)
class Checked:
    """A job that nothing is known against.

    pins        the versions that its data stand for now
    validation  where the held-out conversations come from: asset and split, or None
    config      the model's config.json, where it can be known before its files are fetched
    """

    pins: dict[str, str]
    training: DataAsset
    validation: tuple[DataAsset, str] | None
    parameters: FineTuneParameters
    sources: dict[str, Source]
    config: dict[str, Any] | None
    notices: list[str]


def check(context: Context, spec: FineTuningJobSpec) -> Checked:
    """Everything but the memory, which only a plan can tell with what would fit.

    Raises:
        NotFound: the model or the data.
        Conflict: a registered model that is not ready.
        InvalidInput: the parameters, all faults together, also that nothing is held out for what
            needs evaluations; the data are no conversations, or have tool calls that the model's
            template has no place for.
    """
    training = _chats(context, spec.training_data)
    validation = _held_out(context, spec, training)
    with context.begin("models/read") as session:
        bases.check(session, context, spec.model)
        config = bases.config(session, context, spec.model)
    parameters, sources = resolve(
        spec.hyperparameters,
        model=catalog.recommended(config or spec.model),
        machine=machine_recommendation(),
        where="hyperparameters",
        validation=validation is not None,
    )
    splits = [(training, "train"), *([validation] if validation else [])]
    check_tools(context, spec.model, splits)
    pins = {"training_data": _reference(training)}
    if spec.validation_data and validation:
        pins["validation_data"] = _reference(validation[0])
    said = [*_notices(spec), *notices(parameters, sources), *_shared(context, training, validation)]
    return Checked(pins, training, validation, parameters, sources, config, said)


def check_fits(config: dict[str, Any], parameters: FineTuneParameters) -> None:
    """Raise InsufficientResources, with what would fit, where the formulas alone say that nothing
    that the plan may choose does. Lengths are not known yet: the plan and the job look again."""
    try:
        shape = ModelShape.from_config(config)
    except KeyError as missing:
        raise InvalidInput(
            f"The model's config.json has no {missing}.",
            remedy="Only decoder models can be trained: see `phoundry model list --catalog`.",
        ) from None
    check_needs(Needs(shape, parameters), machine.available_memory())


def _chats(context: Context, reference: str) -> DataAsset:
    asset = data.show(context, reference)
    data.check_chats(asset)
    return asset


def _held_out(
    context: Context, spec: FineTuningJobSpec, training: DataAsset
) -> tuple[DataAsset, str] | None:
    """The conversations that the job is evaluated on: a whole asset, or the training's own."""
    if spec.validation_data:
        return _chats(context, spec.validation_data), "train"
    return (training, "test") if training.test and training.test.rows else None


def _shared(
    context: Context, training: DataAsset, validation: tuple[DataAsset, str] | None
) -> list[str]:
    """A notice about rows that are both learnt and tested."""
    if validation is None or validation[1] == "test":  # the splits of one asset share no row
        return []
    asset = validation[0]
    shared = data_diff.shared_rows(context, training, asset)
    if not shared:
        return []
    return [
        f"{shared:,} of the {asset.train.rows:,} rows of {_reference(asset)} are also "
        f"trained on: the validation loss will look better than it is."
    ]


def _notices(spec: FineTuningJobSpec) -> list[str]:
    where = spec.compute or ", ".join(map(str, spec.resources.get("instance_types", [])))
    said = [f"compute '{where}' is recorded; the job runs on this machine."] if where else []
    if spec.outputs:
        remedy = "once the job is completed, run `phoundry model register NAME --job JOB`."
        said.append(f"outputs are recorded, and nothing is registered by them; {remedy}")
    return said


def _reference(asset: DataAsset) -> str:
    return f"{asset.name}:{asset.version}"
