"""One function a step. Each can be called again and again: it makes what is missing, and says
`done` once its thing is there, so that a journey cut off anywhere goes on from where it was.

Names are derived, never typed: the journey's name is that of the model, endpoint and connection.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phoundry import flows
from phoundry.errors import Conflict, NotFound, PhoundryError, from_dict
from phoundry.flows.document import FILE_NAMES
from phoundry.journey.same import TAG, choose, job_name
from phoundry.services import connections, data, deployments, endpoints, jobs, models, parity
from phoundry.services.context import Context
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.deployment import (
    Deployment,
    DeploymentSpec,
    DeploymentUpdate,
    GenerationDefaults,
)
from phoundry.specs.endpoint import EndpointSpec, EndpointUpdate
from phoundry.specs.job import FineTuningJobSpec
from phoundry.specs.journey import JourneySpec, StepName
from phoundry.specs.model import Model, ModelSpec
from phoundry.specs.project import CHAT

BASE = "base"


@dataclass(frozen=True, slots=True)
class Progress:
    """What a step has come to. `reference` names what it made."""

    done: bool
    reference: str | None = None
    message: str = ""


def take_data(context: Context, spec: JourneySpec) -> Progress:
    asset = data.show(context, spec.data)
    held_out = f", {asset.test.rows} held out" if asset.test else ""
    message = f"{asset.train.rows} conversations to train on{held_out}"
    return Progress(True, f"{asset.name}:{asset.version}", message)


def train(context: Context, spec: JourneySpec) -> Progress:
    name = job_name(context, spec)
    try:
        job = jobs.show(context, name)
    except NotFound:
        job = jobs.create(
            context,
            FineTuningJobSpec(
                name=name,
                model=spec.project.model,
                training_data=spec.data,
                hyperparameters=spec.project.parameters,
                tags={TAG: spec.name},
            ),
        )
    if job.status in ("Failed", "Canceled"):
        raise _error(job.error, f"Job '{name}' is {job.status}.")
    if job.status == "Paused":
        return Progress(False, name, f"Paused: `phoundry job resume {name}` goes on")
    loss = job.metrics.get("eval_loss")
    said = "" if loss is None else f"held-out loss {loss:.3f}"
    if (first := job.metrics.get("first_eval_loss")) is not None and loss is not None:
        said = f"held-out loss {first:.3f} → {loss:.3f}"
    return Progress(job.status == "Completed", name, said)


def register(context: Context, spec: JourneySpec) -> Progress:
    model = _model(context, spec)
    if model.status == "Failed":
        raise _error(model.error, f"Model '{spec.name}' could not be registered.")
    said = model.uri or (model.preparation.message if model.preparation else "")
    return Progress(model.status == "Ready", f"{model.name}:{model.version}", said)


def make_endpoint(context: Context, spec: JourneySpec) -> Progress:
    """The endpoint, with the description and tags of the project."""
    wanted = spec.project.endpoint
    try:
        endpoint = endpoints.show(context, spec.endpoint)
    except NotFound:
        made = EndpointSpec(
            name=spec.endpoint, description=wanted.description, tags=dict(wanted.tags)
        )
        endpoint = endpoints.create(context, made)
    if endpoint.provisioning_state == "Deleting":
        return Progress(False, message="waiting until the one before is gone")
    if (endpoint.description, endpoint.tags) != (wanted.description, wanted.tags):
        change = EndpointUpdate(description=wanted.description, tags=dict(wanted.tags))
        endpoints.update(context, spec.endpoint, change)
    return Progress(True, endpoint.name, endpoint.scoring_uri)


def deploy(context: Context, spec: JourneySpec) -> Progress:
    found = [_deployed(context, spec)]
    if spec.project.deployment.base:
        found.append(_deployment(context, spec, BASE, spec.project.model))
    for item in found:
        if item.provisioning_state == "Failed":
            raise _error(item.error, f"Deployment '{item.name}' failed.")
        if item.gate == "failed":
            raise parity.show(context, spec.endpoint, item.name).failure()
    served = ", ".join(f"{item.name} {item.traffic} %" for item in found)
    # Its sentences, not its bytes: a message is written to the journey's row.
    served = next((item.preparation.message for item in found if item.preparation), served)
    return Progress(all(item.settled for item in found), f"{spec.endpoint}/{found[0].name}", served)


def connect(context: Context, spec: JourneySpec) -> Progress:
    """A custom connection with the endpoint's address and primary key, as a flow wants it."""
    endpoint = endpoints.show(context, spec.endpoint)
    key = endpoints.keys(context, spec.endpoint).primaryKey
    wanted = ConnectionSpec.to_endpoint(spec.name, endpoint, key)
    try:
        present = connections.values(context, spec.name)
    except NotFound:
        present = None
    secrets = {name: value.get_secret_value() for name, value in wanted.secrets.items()}
    if present is not None and present.configs.keys() != wanted.configs.keys():
        raise Conflict(
            f"There is a connection '{spec.name}' already, and it leads elsewhere.",
            remedy="Choose another name for the project with --name, or delete that connection.",
        )
    if present is None or (present.configs, present.secrets) != (wanted.configs, secrets):
        connections.create(context, wanted, replace=True)
    return Progress(True, spec.name, "endpoint and key, encrypted")


def make_flow(context: Context, spec: JourneySpec) -> Progress:
    """The chat flow, where there is none yet; a flow of the user's own is only looked at."""
    assert spec.flow_path is not None  # noqa: S101 - the step is left out without one
    path = Path(spec.flow_path)
    if spec.project.flow == CHAT:
        if not any((path / name).exists() for name in FILE_NAMES):
            flows.init_flow(path, template="chat", connection=spec.name)
    else:
        flows.load_flow(path)
    return Progress(True, str(path), "")


STEPS: dict[StepName, tuple[str, Callable[[Context, JourneySpec], Progress]]] = {
    "data": ("Check the data", take_data),
    "train": ("Fine-tune", train),
    "register": ("Merge and register", register),
    "endpoint": ("Create the endpoint", make_endpoint),
    "deploy": ("Deploy", deploy),
    "connect": ("Connect", connect),
    "flow": ("Make the chat flow", make_flow),
}


def steps_of(spec: JourneySpec) -> dict[StepName, tuple[str, Callable[..., Progress]]]:
    """The steps of this journey: without a flow, no step makes one."""
    return {name: step for name, step in STEPS.items() if name != "flow" or spec.flow_path}


def retry(context: Context, spec: JourneySpec) -> None:
    """Give what failed or was stopped another chance; called when the user asks once more."""
    job = job_name(context, spec)
    with suppress(NotFound):
        if jobs.show(context, job).status in ("Failed", "Canceled", "Paused"):
            jobs.resume(context, job)
    model = models.of_job(context, spec.name, job)
    if model is None:
        return
    if model.status == "Failed":
        model = models.register(context, ModelSpec(name=spec.name, job=job))
    chosen = choose(context, spec.project, f"{model.name}:{model.version}")
    for name in (chosen.name, BASE) if spec.project.deployment.base else (chosen.name,):
        with suppress(NotFound):
            deployments.retry(context, spec.endpoint, name)


def _model(context: Context, spec: JourneySpec) -> Model:
    """The version made from this journey's job. A failed one stays until the user asks again."""
    job = job_name(context, spec)
    found = models.of_job(context, spec.name, job)
    return found or models.register(context, ModelSpec(name=spec.name, job=job))


def _deployed(context: Context, spec: JourneySpec) -> Deployment:
    """The tuned model's deployment, made or brought up to date."""
    model = _model(context, spec)
    reference = f"{model.name}:{model.version}"
    choice = choose(context, spec.project, reference)
    if choice.differs(spec.project):
        defaults = GenerationDefaults.model_validate(spec.project.deployment.defaults.model_dump())
        change = DeploymentUpdate(defaults=defaults)
        return deployments.update(context, spec.endpoint, choice.name, change)
    return _deployment(context, spec, choice.name, reference)


def _error(known: dict[str, Any] | None, message: str) -> PhoundryError:
    return from_dict(known or {"message": message, "remedy": "Run the same command again."})


def _deployment(context: Context, spec: JourneySpec, name: str, model: str) -> Deployment:
    try:
        return deployments.show(context, spec.endpoint, name)
    except NotFound:
        wanted = spec.project.deployment
        made = DeploymentSpec(
            name=name,
            endpoint_name=spec.endpoint,
            model=model,
            engine=wanted.engine,
            quantization=wanted.quantization,
            context_length=wanted.context_length,
            defaults=wanted.defaults if name != BASE else GenerationDefaults(),
            request_settings=wanted.request_settings,
            gate=wanted.gate,
        )
        return deployments.create(context, made)
