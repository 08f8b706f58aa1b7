"""One function a step. Each can be called again and again: it makes what is missing, and says
`done` once its thing is there, so that a journey cut off anywhere goes on from where it was.

Names are derived, never typed: the journey's name is that of the model, endpoint and connection.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phoundry import flows
from phoundry.errors import Conflict, NotFound, PhoundryError, from_dict
from phoundry.services import connections, data, deployments, endpoints, jobs, models
from phoundry.services.context import Context
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.deployment import Deployment, DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.job import FineTuningJobSpec
from phoundry.specs.journey import JourneySpec, StepName
from phoundry.specs.model import Model, ModelSpec

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
                model=spec.model,
                training_data=spec.data,
                hyperparameters=spec.parameters,
                tags={"phoundry.journey": spec.name},
            ),
        )
    if job.status in ("Failed", "Canceled"):
        raise _error(job.error, f"Job '{name}' is {job.status}.")
    loss = job.metrics.get("eval_loss")
    said = "" if loss is None else f"held-out loss {loss:.3f}"
    if (first := job.metrics.get("first_eval_loss")) is not None and loss is not None:
        said = f"held-out loss {first:.3f} → {loss:.3f}"
    return Progress(job.status == "Completed", name, said)


def register(context: Context, spec: JourneySpec) -> Progress:
    model = _model(context, spec)
    if model.status == "Failed":
        raise _error(model.error, f"Model '{spec.name}' could not be registered.")
    return Progress(model.status == "Ready", f"{model.name}:{model.version}", model.uri or "")


def make_endpoint(context: Context, spec: JourneySpec) -> Progress:
    try:
        endpoint = endpoints.show(context, spec.name)
    except NotFound:
        endpoint = endpoints.create(context, EndpointSpec(name=spec.name))
    if endpoint.provisioning_state == "Deleting":
        return Progress(False, message="waiting until the one before is gone")
    return Progress(True, endpoint.name, endpoint.scoring_uri)


def deploy(context: Context, spec: JourneySpec) -> Progress:
    wanted = _wanted(spec, _model(context, spec))
    found = [_deployment(context, spec, name, model) for name, model in wanted.items()]
    for item in found:
        if item.provisioning_state == "Failed":
            raise _error(item.error, f"Deployment '{item.name}' failed.")
    served = ", ".join(f"{item.name} {item.traffic} %" for item in found)
    ready = all(item.provisioning_state == "Succeeded" for item in found)
    return Progress(ready, f"{spec.name}/{found[0].name}", served)


def connect(context: Context, spec: JourneySpec) -> Progress:
    """A custom connection with the endpoint's address and primary key, as a flow wants it."""
    endpoint = endpoints.show(context, spec.name)
    key = endpoints.keys(context, spec.name).primaryKey
    wanted = ConnectionSpec.to_endpoint(spec.name, endpoint, key)
    try:
        present = connections.values(context, spec.name)
    except NotFound:
        present = None
    secrets = {name: value.get_secret_value() for name, value in wanted.secrets.items()}
    if present is not None and present.configs.keys() != wanted.configs.keys():
        raise Conflict(
            f"There is a connection '{spec.name}' already, and it leads elsewhere.",
            remedy="Choose another name for the journey with --name, or delete that connection.",
        )
    if present is None or (present.configs, present.secrets) != (wanted.configs, secrets):
        connections.create(context, wanted, replace=True)
    return Progress(True, spec.name, "endpoint and key, encrypted")


def make_flow(context: Context, spec: JourneySpec) -> Progress:
    path = Path(spec.flow_path)
    if not any((path / name).exists() for name in ("flow.dag.yaml", "flow.dag.yml")):
        flows.init_flow(path, template="chat", connection=spec.name)
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


def job_name(context: Context, spec: JourneySpec) -> str:
    """The same data, model and parameters name the same job, so nothing is trained twice."""
    asset = data.show(context, spec.data)
    facts = [asset.train.sha256, spec.model, spec.parameters]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"{spec.name}-{digest[:8]}"


def retry(context: Context, spec: JourneySpec) -> None:
    """Give what failed or was stopped another chance; called when the user asks once more."""
    job = job_name(context, spec)
    with suppress(NotFound):
        if jobs.show(context, job).status in ("Failed", "Canceled"):
            jobs.resume(context, job)
    model = models.of_job(context, spec.name, job)
    if model is None:
        return
    if model.status == "Failed":
        model = models.register(context, ModelSpec(name=spec.name, job=job))
    for name in _wanted(spec, model):
        with suppress(NotFound):
            deployments.retry(context, spec.name, name)


def _model(context: Context, spec: JourneySpec) -> Model:
    """The version made from this journey's job. A failed one stays until the user asks again."""
    job = job_name(context, spec)
    found = models.of_job(context, spec.name, job)
    return found or models.register(context, ModelSpec(name=spec.name, job=job))


def _wanted(spec: JourneySpec, model: Model) -> dict[str, str]:
    """The deployments of this journey: name and model."""
    wanted = {f"tuned-{model.version}": f"{model.name}:{model.version}"}
    return {**wanted, BASE: spec.model} if spec.deploy_base else wanted


def _error(known: dict[str, Any] | None, message: str) -> PhoundryError:
    return from_dict(known or {"message": message, "remedy": "Run the same command again."})


def _deployment(context: Context, spec: JourneySpec, name: str, model: str) -> Deployment:
    try:
        return deployments.show(context, spec.name, name)
    except NotFound:
        wanted = DeploymentSpec(name=name, endpoint_name=spec.name, model=model)
        return deployments.create(context, wanted)
