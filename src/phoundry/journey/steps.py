"""One function a step. Each can be called again and again: it makes what is missing, and says
`done` once its thing is there, so that a journey cut off anywhere goes on from where it was.

Names are derived, never typed: the journey's name is that of the model, endpoint and connection.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from phoundry import flows
from phoundry.errors import NotFound, PhoundryError, from_dict
from phoundry.services import connections, data, deployments, endpoints, jobs, models
from phoundry.services.context import Context
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.deployment import Deployment, DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.job import FineTuningJobSpec
from phoundry.specs.journey import JourneySpec, StepName
from phoundry.specs.model import ModelSpec

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
        raise from_dict(job.error or {"message": f"Job '{name}' is {job.status}."})
    loss = job.metrics.get("eval_loss")
    said = "" if loss is None else f"held-out loss {loss:.3f}"
    if (first := job.metrics.get("first_eval_loss")) is not None and loss is not None:
        said = f"held-out loss {first:.3f} → {loss:.3f}"
    return Progress(job.status == "Completed", name, said)


def register(context: Context, spec: JourneySpec) -> Progress:
    asked = ModelSpec(name=spec.name, job=job_name(context, spec))
    model = models.register(context, asked)
    return Progress(model.status == "Ready", f"{model.name}:{model.version}", model.uri or "")


def make_endpoint(context: Context, spec: JourneySpec) -> Progress:
    try:
        endpoint = endpoints.show(context, spec.name)
    except NotFound:
        endpoint = endpoints.create(context, EndpointSpec(name=spec.name))
    return Progress(True, endpoint.name, endpoint.scoring_uri)


def deploy(context: Context, spec: JourneySpec) -> Progress:
    version = _model_reference(context, spec)
    wanted = [(f"tuned-{version.split(':')[1]}", version)]
    if spec.deploy_base:
        wanted.append((BASE, spec.model))
    found = [_deployment(context, spec, name, model) for name, model in wanted]
    for item in found:
        if item.provisioning_state == "Failed":
            raise from_dict(item.error or {"message": f"Deployment '{item.name}' failed."})
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
    try:
        job = jobs.show(context, job_name(context, spec))
        if job.status in ("Failed", "Canceled"):
            jobs.resume(context, job.name)
        for item in deployments.listing(context, spec.name):
            if item.provisioning_state == "Failed" and not item.traffic:
                deployments.delete(context, spec.name, item.name)
    except PhoundryError as error:
        if not isinstance(error, NotFound):
            raise


def _model_reference(context: Context, spec: JourneySpec) -> str:
    model = models.register(context, ModelSpec(name=spec.name, job=job_name(context, spec)))
    return f"{model.name}:{model.version}"


def _deployment(context: Context, spec: JourneySpec, name: str, model: str) -> Deployment:
    try:
        return deployments.show(context, spec.name, name)
    except NotFound:
        wanted = DeploymentSpec(name=name, endpoint_name=spec.name, model=model)
        return deployments.create(context, wanted)
