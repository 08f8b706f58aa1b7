"""The plan of a project: what of its journey is there already, and what is to be made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from phoundry import flows
from phoundry.errors import Conflict, NotFound
from phoundry.flows.document import FILE_NAMES
from phoundry.journey import same, steps
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
    journeys,
    models,
)
from phoundry.services.context import Context
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.data import DataAsset
from phoundry.specs.deployment import Deployment
from phoundry.specs.endpoint import Endpoint
from phoundry.specs.job import Job
from phoundry.specs.journey import JourneySpec
from phoundry.specs.model import Model
from phoundry.specs.plan import Action, Change, Declared, Forecast, PlanItem
from phoundry.specs.project import CHAT, Project


@dataclass(frozen=True, slots=True)
class Scene:
    """The project, and the journey that it was before."""

    context: Context
    planned: Planned
    declared: Declared
    project: Project
    before: JourneySpec | None


def plan_project(context: Context, declared: Declared, planned: Planned) -> None:
    """Raises Conflict where the project is under way with other settings."""
    project = Project.model_validate(declared.spec)
    present = journeys.present(context, project.name)
    scene = Scene(context, planned, declared, project, present[0] if present else None)
    first = len(planned.items)
    asset = _plan_data(scene)
    _check_not_under_way(scene, asset, running=bool(present and present[1].state == "running"))
    job = _plan_job(scene, asset)
    model = _plan_model(scene, job)
    endpoint = _plan_endpoint(scene)
    _plan_deployments(scene, model, endpoint)
    _plan_connection(scene, endpoint)
    _plan_flow(scene)
    for item in planned.items[first:]:
        item.project = project.name


def _check_not_under_way(scene: Scene, asset: DataAsset | None, *, running: bool) -> None:
    if not running or scene.before is None:
        return
    if asset is None or _journey(scene, asset).stored() != scene.before.stored():
        raise journeys.under_way(scene.project.name)


def _journey(scene: Scene, asset: DataAsset) -> JourneySpec:
    return JourneySpec(
        project=scene.project,
        data=f"{asset.name}:{asset.version}",
        flow_path=scene.declared.flow_path,
    )


def _plan_data(scene: Scene) -> DataAsset | None:
    """The asset that will be used, or None where it is still to be made."""
    context, planned, project = scene.context, scene.planned, scene.project
    wanted = project.data
    if wanted.asset is not None:
        if planned.coming("data", wanted.asset):
            return None
        return data.show(context, wanted.asset)
    reading = Reading(wanted.format, wanted.mapping, wanted.skip_bad, wanted.test_size, wanted.seed)
    facts = scene.declared.facts
    if facts is None or facts.sha256 is None:
        found = _taken_from_hub(scene)
    else:
        found = asset_of(context, project.name, reading, facts)
    data_item(context, planned, project.name, found, reading, facts)
    return found


def _taken_from_hub(scene: Scene) -> DataAsset | None:
    """What the same words fetched before: a data set of the hub is not looked at again."""
    before = scene.before
    if before is None or before.project.data != scene.project.data:
        return None
    return there(lambda: data.show(scene.context, before.data))


def _plan_job(scene: Scene, asset: DataAsset | None) -> str | None:
    """The name of the job, or None where it depends on data that are still to be made."""
    context, planned, project = scene.context, scene.planned, scene.project
    if asset is None:
        waits = [f"data/{(project.data.asset or project.name).partition(':')[0]}"]
        planned.add(
            "job",
            f"{project.name}-…",
            "create",
            waits_for=waits,
            changes=_what_changed(scene, None),
            forecast=_forecast(scene, None),
        )
        return None
    name = same.job_name(context, _journey(scene, asset))
    job = there(lambda: jobs.show(context, name))
    action, reason = _state_of_job(job)
    item = planned.add("job", name, action, reason=reason)
    if action == "create":
        item.changes = _what_changed(scene, asset)
    if action in ("create", "resume"):
        item.forecast = _forecast(scene, asset)
    return name


def _state_of_job(job: Job | None) -> tuple[Action, str]:
    if job is None:
        return "create", "nothing like it was trained before"
    if job.status == "Completed":
        return "nothing", "trained already"
    if job.status in ("Failed", "Canceled", "Paused"):
        return "resume", f"it is {job.status}; it goes on from its last checkpoint"
    return "follow", f"it is {job.status}"


def _what_changed(scene: Scene, asset: DataAsset | None) -> list[Change]:
    """In what this training differs from the one before."""
    if scene.before is None:
        return []
    old, new = scene.before, scene.project
    reference = f"{asset.name}:{asset.version}" if asset else "new"
    return changes_between(
        {"data": old.data, "model": old.project.model, **old.project.parameters},
        {"data": reference, "model": new.model, **new.parameters},
    )


def _forecast(scene: Scene, asset: DataAsset | None) -> Forecast | None:
    project = scene.project
    if scene.planned.coming("model", project.model):
        return None  # nothing is known of a model that is still to be made
    size = scene.planned.bytes_of(project.data.asset or project.name)
    found = forecast.training(
        scene.context, project.model, project.parameters, asset=asset, train_bytes=size
    )
    if found.fits is False:
        scene.planned.notes.append(
            f"The training of '{project.name}' needs about {(found.memory_bytes or 0) / 1e9:.1f} "
            f"GB of memory, {(found.available_bytes or 0) / 1e9:.1f} GB can be had: it will be "
            "refused unless memory is freed. A smaller model, a lower pack_length or "
            "apply_lora: true need less."
        )
    return found


def _plan_model(scene: Scene, job: str | None) -> str:
    """The version as NAME:VERSION: the one there is, or the one that will be next."""
    context, planned, name = scene.context, scene.planned, scene.project.name
    model = models.of_job(context, name, job) if job else None
    if model is None or model.status == "Failed":
        ready = [each for each in models.listing(context) if each.name == name]
        kept = [int(each.version) for each in ready if each.status != "Failed"]
        reference = f"{name}:{max(kept, default=0) + 1}"
        waits = [f"job/{job or name + '-…'}"]
        action: Action = "create" if model is None else "resume"
        planned.add("model", reference, action, waits_for=waits)
        return reference
    reference = f"{name}:{model.version}"
    planned.add("model", reference, _of_model(model), reason=model.status.lower())
    return reference


def _of_model(model: Model) -> Action:
    return "nothing" if model.status == "Ready" else "follow"


def _plan_endpoint(scene: Scene) -> Endpoint | None:
    context, planned, project = scene.context, scene.planned, scene.project
    name, wanted = project.endpoint_name, project.endpoint
    found = there(lambda: endpoints.show(context, name))
    if found is None or found.provisioning_state == "Deleting":
        planned.add("endpoint", name, "create", reason="with two new keys")
        if scene.before and scene.before.endpoint != name:
            planned.notes.append(
                f"The endpoint '{scene.before.endpoint}' stays. When nobody calls it any more: "
                f"phoundry endpoint delete {scene.before.endpoint}"
            )
        return None
    changes = changes_between(
        {"description": found.description, "tags": found.tags},
        {"description": wanted.description, "tags": wanted.tags},
    )
    planned.add("endpoint", name, "change" if changes else "nothing", changes=changes)
    return found


def _plan_deployments(scene: Scene, model: str, endpoint: Endpoint | None) -> None:
    context, planned, project = scene.context, scene.planned, scene.project
    choice = same.choose(context, project, model)
    where = project.endpoint_name
    coming = planned.items[-2].action in ("create", "resume", "follow")
    waits = [f"model/{model}"] if coming else []
    if choice.present is None:
        shares = endpoint.traffic if endpoint else {}
        alone = endpoint is None or not endpoint.deployments
        live = ", ".join(f"{name} {share} %" for name, share in shares.items()) or "none"
        reason = "the first one: it gets all the traffic" if alone else f"at 0 %, beside {live}"
        planned.add(
            "deployment", f"{where}/{choice.name}", "create", reason=reason, waits_for=waits
        )
        if not alone:
            planned.notes.append(
                "To let the new deployment answer, once it is there and you have tried it: "
                f"{traffic_command(where, choice.name)}"
            )
    else:
        _plan_present(scene, choice.present, waits)
    if project.deployment.base:
        base = there(lambda: deployments.show(context, where, steps.BASE))
        action: Action = "create" if base is None else "nothing"
        planned.add("deployment", f"{where}/{steps.BASE}", action, reason="the untuned model")


def traffic_command(endpoint: str, deployment: str) -> str:
    """What sends all of an endpoint's requests to one deployment."""
    return f"phoundry endpoint update {endpoint} --traffic {deployment}=100"


def _plan_present(scene: Scene, found: Deployment, waits: list[str]) -> None:
    wanted = scene.project.deployment.defaults
    changes = changes_between(
        found.defaults.model_dump(mode="json"), wanted.model_dump(mode="json")
    )
    states: dict[str, Action] = {"Failed": "resume", "Creating": "follow"}
    action = states.get(found.provisioning_state, "change" if changes else "nothing")
    reason = f"it is {found.provisioning_state}" if action in ("resume", "follow") else ""
    if changes and not reason:
        reason = "in place: requests go on, the next one is answered under the new defaults"
    scene.planned.add(
        "deployment",
        f"{found.endpoint_name}/{found.name}",
        action,
        changes=changes,
        reason=reason,
        waits_for=waits,
    )


def _plan_connection(scene: Scene, endpoint: Endpoint | None) -> None:
    context, planned, name = scene.context, scene.planned, scene.project.name
    shown = there(lambda: connections.show(context, name))
    if shown is not None and shown.configs.keys() != {"api_base", "model"}:
        raise Conflict(
            f"There is a connection '{name}' already, and it leads elsewhere.",
            remedy="Choose another name for the project, or delete that connection.",
        )
    waits = [] if endpoint else [f"endpoint/{scene.project.endpoint_name}"]
    if endpoint is None or shown is None:
        action: Action = "create" if shown is None else "change"
        planned.add("connection", name, action, waits_for=waits)
        return
    key = endpoints.keys(context, endpoint.name).primaryKey
    fields = connections.differences(context, ConnectionSpec.to_endpoint(name, endpoint, key))
    changes = [Change(field=field) for field in fields or []]
    planned.add("connection", name, "change" if changes else "nothing", changes=changes)


def _plan_flow(scene: Scene) -> None:
    path = scene.declared.flow_path
    if path is None:
        return
    folder = Path(path)
    present = any((folder / name).exists() for name in FILE_NAMES)
    if scene.project.flow == CHAT:
        _add_flow(scene, folder, present)
        return
    if not present:
        raise NotFound(
            f"There is no flow in {folder}.",
            remedy="Write `flow: chat` for one that is made for you, or make one there: "
            "`phoundry flow init FOLDER`.",
        )
    flows.load_flow(folder)  # raises what is wrong with it
    scene.planned.add("flow", str(folder), "nothing", reason="yours, and left as it is")


def _add_flow(scene: Scene, folder: Path, present: bool) -> PlanItem:
    waits = [] if present else [f"connection/{scene.project.name}"]
    action: Action = "nothing" if present else "create"
    return scene.planned.add("flow", str(folder), action, waits_for=waits)
