"""What counts as the same: which job learnt this already, which deployment serves it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import count

from pydantic import ValidationError

from phoundry.errors import NotFound
from phoundry.services import data, deployments, jobs
from phoundry.services.context import Context
from phoundry.specs.data import DataAsset
from phoundry.specs.deployment import Deployment
from phoundry.specs.finetune import FineTuneParameters
from phoundry.specs.journey import JourneySpec
from phoundry.specs.project import Project
from phoundry.specs.quantization import served_as

TUNED = "tuned-"
TAG = "phoundry.journey"  # on the jobs of a journey: its name


def job_name(context: Context, spec: JourneySpec) -> str:
    """The same data, model and parameters name the same job, so nothing is trained twice."""
    asset = data.show(context, spec.data)
    name = fresh_job_name(spec.project, asset)
    try:
        jobs.show(context, name)
    except NotFound:
        return _earlier_job(context, spec.project, asset) or name
    return name


def fresh_job_name(project: Project, asset: DataAsset) -> str:
    held_out = asset.test.sha256 if asset.test else None
    facts = [asset.train.sha256, held_out, project.model, project.parameters]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"{project.name}-{digest[:8]}"


def _earlier_job(context: Context, project: Project, asset: DataAsset) -> str | None:
    """A job of this journey that learnt the same, under a name of the first release's making."""
    for job in jobs.listing(context):
        if job.tags.get(TAG) != project.name or job.model != project.model:
            continue
        written = {key for key, source in job.sources.items() if source == "user"}
        given = {key: value for key, value in job.parameters.items() if key in written}
        try:
            learnt = data.show(context, job.training_data)
            same = FineTuneParameters.model_validate(given).model_dump(exclude_unset=True)
        except (NotFound, ValidationError):
            continue
        wanted = project.finetune.model_dump(exclude_unset=True)
        if (same, learnt.train, learnt.test) == (wanted, asset.train, asset.test):
            return job.name
    return None


@dataclass(frozen=True, slots=True)
class Choice:
    """The deployment for a model version: one that is there, or the name of the next."""

    name: str
    present: Deployment | None

    def differs(self, project: Project) -> bool:
        """Whether its defaults are others than the project's."""
        return self.present is not None and self.present.defaults != project.deployment.defaults


def choose(context: Context, project: Project, model: str) -> Choice:
    """Where `model` is, or will be, deployed as the project says.

    One that differs in its defaults alone is taken, and changed while it serves. For another
    engine, quantisation or context the model is deployed once more: beside, as everything that may
    answer otherwise.
    """
    try:
        found = deployments.listing(context, project.endpoint_name)
    except NotFound:
        found = []
    wanted = project.deployment
    kind = served_as(wanted.engine, wanted.quantization)
    facts = (wanted.engine, kind, wanted.context_length, wanted.request_settings)
    same = [
        item
        for item in found
        if item.model == model
        and item.provisioning_state != "Deleting"
        and (item.engine, item.quantization, item.context_length, item.request_settings) == facts
        and item.name.startswith(TUNED)
    ]
    exact = [item for item in same if item.defaults == wanted.defaults]
    if same:
        chosen = (exact or same)[-1]
        return Choice(chosen.name, chosen)
    version = model.rpartition(":")[2]
    taken = {item.name for item in found}
    names = (f"{TUNED}{version}" + (f"-{n}" if n > 1 else "") for n in count(1))
    return Choice(next(name for name in names if name not in taken), None)
