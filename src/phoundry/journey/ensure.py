"""Making what one document declares: called again and again until it says `done`.

Each call looks first, so that whoever was cut off can begin anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from phoundry.errors import PhoundryError, UsageError, from_dict
from phoundry.journey import redeploy
from phoundry.journey.planning import there
from phoundry.services import connections, deployments, endpoints, jobs, models, parity
from phoundry.services.context import Context, authorize
from phoundry.services.traffic import shares, words
from phoundry.specs.batch import BatchJobSpec
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.documents import ModelDocument
from phoundry.specs.endpoint import EndpointSpec, EndpointUpdate
from phoundry.specs.job import FineTuningJobSpec
from phoundry.specs.model import Model, ModelSpec
from phoundry.specs.plan import Declared, Kind, Outcome


def ensure(context: Context, declared: Declared, *, again: bool) -> Outcome:
    """Begin, or look after, what the document declares. Data and projects have their own doors.

    Args:
        again: give what failed before another chance; for the first call only, else what fails
            would be tried for ever.

    Raises:
        PhoundryError: it has failed.
    """
    authorize(context.principal, "apply/write", context.workspace)
    maker = MAKERS.get(declared.kind)
    if maker is None:
        raise UsageError(f"A {declared.kind} is not made in this way.")
    return maker(context, declared.spec, again)


def _job(context: Context, spec: dict[str, Any], again: bool) -> Outcome:
    return _any_job(context, FineTuningJobSpec.model_validate(spec), again)


def _batch(context: Context, spec: dict[str, Any], again: bool) -> Outcome:
    return _any_job(context, BatchJobSpec.model_validate(spec), again)


def _any_job(context: Context, wanted: FineTuningJobSpec | BatchJobSpec, again: bool) -> Outcome:
    job = there(lambda: jobs.show(context, str(wanted.name)))
    if job is None:
        job = jobs.create(context, wanted)
    elif again and job.status in ("Failed", "Canceled", "Paused"):
        job = jobs.resume(context, job.name)
    if job.status in ("Failed", "Canceled"):
        raise _failure(job.error, f"Job '{job.name}' is {job.status}.")
    progress = job.progress
    steps = f"{progress.unit} {progress.step}/{progress.max_steps}" if progress.max_steps else ""
    done = job.status == "Completed"
    waits = job.preparation.words() if job.preparation else ""
    kind: Kind = "batch" if job.type == "batch" else "job"
    return Outcome(kind=kind, name=job.name, done=done, message=waits or steps or job.status)


def _model(context: Context, spec: dict[str, Any], again: bool) -> Outcome:
    wanted = ModelDocument.model_validate(spec)
    model = _version(context, wanted)
    if model is None or (again and model.status == "Failed"):
        made = ModelSpec(
            name=wanted.name,
            job=wanted.job,
            path=None if wanted.job else wanted.path,
            base=wanted.base,
            description=wanted.description,
            tags=wanted.tags,
        )
        model = models.register(context, made)
    name = f"{model.name}:{model.version}"
    if model.status == "Failed":
        raise _failure(model.error, f"Model '{name}' could not be registered.")
    waits = model.preparation.words() if model.preparation else ""
    done = model.status == "Ready"
    return Outcome(kind="model", name=name, done=done, message=waits or model.status)


def _version(context: Context, wanted: ModelDocument) -> Model | None:
    origin = wanted.job or wanted.path
    versions = [each for each in models.listing(context) if each.name == wanted.name]
    return next((each for each in versions if origin in (each.job, each.path)), None)


def _endpoint(context: Context, spec: dict[str, Any], again: bool) -> Outcome:
    """Without its traffic, which waits for the deployments (`share`)."""
    wanted = EndpointSpec.model_validate(spec)
    found = there(lambda: endpoints.show(context, wanted.name))
    if found is None:
        found = endpoints.create(context, _unshared(wanted))
    if found.provisioning_state == "Deleting":
        waiting = "waiting until the one before is gone"
        return Outcome(kind="endpoint", name=wanted.name, done=False, message=waiting)
    # Of the limits, those that are not written stay as they are.
    limits = {"rate_limit", "allowed_origins"} & wanted.model_fields_set
    change = {
        field: getattr(wanted, field)
        for field in ("description", "tags", *limits)
        if getattr(wanted, field) != getattr(found, field)
    }
    if change:
        endpoints.update(context, wanted.name, EndpointUpdate(**change))
    return Outcome(kind="endpoint", name=wanted.name, done=True, message=found.scoring_uri)


def _unshared(wanted: EndpointSpec) -> EndpointSpec:
    """Without the shares of deployments, which are not there yet."""
    return wanted.model_copy(update={"traffic": {}, "mirror_traffic": {}})


def _deployment(context: Context, spec: dict[str, Any], again: bool) -> Outcome:
    wanted = DeploymentSpec.model_validate(spec)
    endpoint, name = wanted.endpoint_name, wanted.name
    found = there(lambda: deployments.show(context, endpoint, name))
    if found is None:
        found = deployments.create(context, wanted)
    elif again and (found.provisioning_state == "Failed" or found.gate == "failed"):
        found = deployments.retry(context, endpoint, name)
    if change := redeploy.update(found, wanted):
        found = deployments.update(context, endpoint, name, change)
    if found.provisioning_state == "Failed":
        raise _failure(found.error, f"Deployment '{endpoint}/{name}' failed.")
    if found.gate == "failed":
        raise parity.show(context, endpoint, name).failure()
    done = found.settled
    waits = found.preparation.words() if found.preparation else found.provisioning_state
    message = f"{found.traffic} % of the traffic" if done else waits
    return Outcome(kind="deployment", name=f"{endpoint}/{name}", done=done, message=message)


def _connection(context: Context, spec: dict[str, Any], again: bool) -> Outcome:
    wanted = ConnectionSpec.model_validate(spec)
    if connections.differences(context, wanted) != []:
        connections.create(context, wanted, replace=True)
    return Outcome(kind="connection", name=wanted.name, done=True, message="encrypted")


def share(context: Context, spec: dict[str, Any]) -> Outcome:
    """The live and mirrored traffic of an endpoint's document, once its deployments are there."""
    authorize(context.principal, "apply/write", context.workspace)
    wanted = EndpointSpec.model_validate(spec)
    found = endpoints.show(context, wanted.name)
    change: dict[str, Any] = {}
    if wanted.traffic and shares(found.traffic) != shares(wanted.traffic):
        change["traffic"] = wanted.traffic
    if "mirror_traffic" in wanted.model_fields_set and found.mirror_traffic != shares(
        wanted.mirror_traffic
    ):
        change["mirror_traffic"] = wanted.mirror_traffic
    if change:
        endpoints.update(context, wanted.name, EndpointUpdate(**change))
    said = words(shares(wanted.traffic)) if wanted.traffic else ""
    if mirror := shares(wanted.mirror_traffic):
        said = f"{said}; mirrored: {words(mirror)}".removeprefix("; ")
    return Outcome(kind="endpoint", name=wanted.name, done=True, message=said)


MAKERS: dict[Kind, Callable[[Context, dict[str, Any], bool], Outcome]] = {
    "job": _job,
    "batch": _batch,
    "model": _model,
    "endpoint": _endpoint,
    "deployment": _deployment,
    "connection": _connection,
}


def _failure(known: dict[str, Any] | None, message: str) -> PhoundryError:
    return from_dict(known or {"message": message, "remedy": "Apply the same file again."})
