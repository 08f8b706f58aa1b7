"""The plan of Azure ML's documents: one resource each."""

from __future__ import annotations

from typing import Any

from phoundry.errors import Fault
from phoundry.journey import redeploy
from phoundry.journey.planning import (
    Planned,
    Reading,
    asset_of,
    changes_between,
    data_item,
    there,
)
from phoundry.services import (
    connections,
    data,
    deployments,
    endpoints,
    forecast,
    jobs,
    models,
)
from phoundry.services.context import Context
from phoundry.services.traffic import shares
from phoundry.specs.batch import BatchJobSpec
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.documents import DataDocument, ModelDocument
from phoundry.specs.endpoint import Endpoint, EndpointSpec
from phoundry.specs.job import FineTuningJobSpec, Job
from phoundry.specs.names import split_version
from phoundry.specs.plan import Action, Change, Declared, Forecast


def plan_data(context: Context, declared: Declared, planned: Planned) -> None:
    wanted = DataDocument.model_validate(declared.spec)
    reading = Reading(wanted.format, wanted.mapping, wanted.skip_bad, wanted.test_size, wanted.seed)
    found = asset_of(context, wanted.name, reading, declared.facts)
    if found is None and declared.facts and declared.facts.sha256 is None:
        # A data set of the hub is known by what was asked for; its files are not fetched to plan.
        asked = (wanted.name, wanted.source, wanted.config, wanted.split)
        found = next(
            (
                each
                for each in data.listing(context)
                if (each.name, each.source, each.config, each.split) == asked
            ),
            None,
        )
    data_item(context, planned, wanted.name, found, reading, declared.facts)


_STATES: dict[str, Action] = {
    "Completed": "nothing",
    "Failed": "resume",
    "Canceled": "resume",
    "Paused": "resume",
}


def plan_batch(context: Context, declared: Declared, planned: Planned) -> None:
    """A batch is created once, as every job."""
    wanted = BatchJobSpec.model_validate(declared.spec)
    name = str(wanted.name)
    found = there(lambda: jobs.show(context, name))
    if found is not None:
        action = _STATES.get(found.status, "follow")
        planned.add("job", name, action, reason=f"it is {found.status}")
        return
    needs: list[tuple[Any, str]] = [("data", wanted.input)]
    needs += [("model", wanted.model)] if wanted.model else []
    needs += [("endpoint", wanted.endpoint.partition("/")[0])] if wanted.endpoint else []
    waits = _waits(planned, *needs)
    planned.add("job", name, "create", reason=f"asks {wanted.input}", waits_for=waits)


def plan_job(context: Context, declared: Declared, planned: Planned) -> None:
    """A job is created once: what a document changes later has no effect, and the plan says so."""
    wanted = FineTuningJobSpec.model_validate(declared.spec)
    name = str(wanted.name)
    found = there(lambda: jobs.show(context, name))
    if found is not None:
        changes = _against(found, wanted)
        reason = f"it is {found.status}"
        if changes:
            reason += "; a job never changes: give it another name to train with what is new"
        action = _STATES.get(found.status, "follow")
        planned.add("job", name, action, reason=reason, changes=changes)
        return
    waits = _waits(planned, ("data", wanted.training_data), ("model", wanted.model))
    if wanted.validation_data:
        waits += _waits(planned, ("data", wanted.validation_data))
    planned.add(
        "job", name, "create", waits_for=waits, forecast=_forecast(context, planned, wanted)
    )


def _against(found: Job, wanted: FineTuningJobSpec) -> list[Change]:
    """The parameters that the document has and the job has not."""
    written = wanted.hyperparameters
    ran = {key: found.parameters.get(key) for key in written}
    same = {key for key in written if str(ran[key]).lower() == str(written[key]).lower()}
    numbers = {key for key in written if _number(ran[key]) == _number(written[key]) is not None}
    differing = written.keys() - same - numbers
    changes = [Change(field=key, old=ran[key], new=written[key]) for key in sorted(differing)]
    if split_version(found.training_data)[0] != split_version(wanted.training_data)[0]:
        old, new = found.training_data, wanted.training_data
        changes.append(Change(field="training_data", old=old, new=new))
    return changes


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _forecast(context: Context, planned: Planned, wanted: FineTuningJobSpec) -> Forecast | None:
    if planned.coming("model", wanted.model):
        return None
    asset = None
    if not planned.coming("data", wanted.training_data):
        asset = data.show(context, wanted.training_data)
    size = planned.bytes_of(wanted.training_data)
    return forecast.training(
        context, wanted.model, wanted.hyperparameters, asset=asset, train_bytes=size
    )


def _waits(planned: Planned, *needs: tuple[Any, str]) -> list[str]:
    return [
        f"{kind}/{split_version(name)[0]}" for kind, name in needs if planned.coming(kind, name)
    ]


def plan_model(context: Context, declared: Declared, planned: Planned) -> None:
    wanted = ModelDocument.model_validate(declared.spec)
    versions = [each for each in models.listing(context) if each.name == wanted.name]
    origin = wanted.job or wanted.path
    found = next((each for each in versions if origin in (each.job, each.path)), None)
    if found is not None and found.status != "Failed":
        action: Action = "nothing" if found.status == "Ready" else "follow"
        planned.add("model", f"{found.name}:{found.version}", action, reason=found.status.lower())
        return
    waits: list[str] = []
    if wanted.job:
        waits = _waits(planned, ("job", wanted.job))
        if not waits:
            jobs.show(context, wanted.job)
    following = max((int(each.version) for each in versions if each.status != "Failed"), default=0)
    planned.add(
        "model",
        f"{wanted.name}:{following + 1}",
        "create" if found is None else "resume",
        reason=f"from {'job ' if wanted.job else ''}{origin}",
        waits_for=waits,
    )


def plan_endpoint(context: Context, declared: Declared, planned: Planned) -> None:
    wanted = EndpointSpec.model_validate(declared.spec)
    found = there(lambda: endpoints.show(context, wanted.name))
    if found is None or found.provisioning_state == "Deleting":
        reason = "opened by tokens" if wanted.auth_mode == "aml_token" else "with two new keys"
        shares = {"traffic": wanted.traffic, "mirror_traffic": wanted.mirror_traffic}
        changes = [Change(field=field, new=share) for field, share in shares.items() if share]
        planned.add("endpoint", wanted.name, "create", reason=reason, changes=changes)
        return
    if found.auth_mode != wanted.auth_mode:
        reason = f"endpoint {wanted.name} has auth_mode {found.auth_mode}; it stays as it is"
        remedy = f"make another endpoint for {wanted.auth_mode}"
        planned.faults.append(Fault(f"{wanted.name} auth_mode", f"{reason}: {remedy}"))
    new: dict[str, Any] = {"description": wanted.description, "tags": wanted.tags}
    old: dict[str, Any] = {"description": found.description, "tags": found.tags}
    # Of what is not written, what the endpoint has stays.
    written = {"mirror_traffic", "rate_limit", "allowed_origins"} & wanted.model_fields_set
    for field in sorted(written | ({"traffic"} if wanted.traffic else set())):
        old[field], new[field] = _limit(found, field), _limit(wanted, field)
    changes = changes_between(old, new)
    planned.add("endpoint", wanted.name, "change" if changes else "nothing", changes=changes)


def _limit(one: Endpoint | EndpointSpec, field: str) -> Any:
    """A field as plain data; of shares, those that are not 0."""
    value = one.model_dump(mode="json", include={field})[field]
    if field not in ("traffic", "mirror_traffic"):
        return value
    return shares(value)


def plan_deployment(context: Context, declared: Declared, planned: Planned) -> None:
    wanted = DeploymentSpec.model_validate(declared.spec)
    name = f"{wanted.endpoint_name}/{wanted.name}"
    found = there(lambda: deployments.show(context, wanted.endpoint_name, wanted.name))
    if found is None:
        waits = _waits(planned, ("endpoint", wanted.endpoint_name), ("model", wanted.model))
        if not planned.coming("endpoint", wanted.endpoint_name):
            endpoints.show(context, wanted.endpoint_name)
        planned.add("deployment", name, "create", waits_for=waits, reason=f"serves {wanted.model}")
        return
    changes = redeploy.changes(found, wanted)
    states: dict[str, Action] = {"Failed": "resume", "Creating": "follow"}
    action = states.get(found.provisioning_state, "change" if changes else "nothing")
    reason = "beside what serves, which then drains" if redeploy.rolls_out(changes) else ""
    planned.add("deployment", name, action, changes=changes, reason=reason)


def plan_connection(context: Context, declared: Declared, planned: Planned) -> None:
    wanted = ConnectionSpec.model_validate(declared.spec)
    fields = connections.differences(context, wanted)
    action: Action = "create" if fields is None else "change" if fields else "nothing"
    changes = [Change(field=field) for field in fields or []]
    planned.add("connection", wanted.name, action, changes=changes)
