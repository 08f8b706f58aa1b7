"""What `deployment update` changes: at once, or as a new revision that is rolled out."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from phoundry.errors import Fault, InvalidInput
from phoundry.services import bases, defaults, engine_choice, parity, revisions
from phoundry.services.context import Context
from phoundry.services.deployment_rows import note
from phoundry.specs.deployment import DeploymentSpec, DeploymentUpdate
from phoundry.specs.quantization import served_as
from phoundry.store.tables import DeploymentRow

# Of these, keys that are not written stay as they are.
_NESTED = ("request_settings", "liveness_probe", "readiness_probe")


def apply(
    session: Session,
    context: Context,
    row: DeploymentRow,
    change: DeploymentUpdate,
    kept: DeploymentSpec | None = None,
) -> None:
    """Put `change` into the row. `kept`: the flow that it names, as it was kept.

    Raises:
        InvalidInput: it does not go with the rest.
        NotFound: the model.
    """
    given = _given(change)
    if kept is not None:
        fields = {"flow", "model", "connections", "init", "snapshot"}
        given |= kept.model_dump(mode="json", include=fields)
    elif "model" in given:
        given |= {"flow": None, "snapshot": None}
        bases.check(session, context, given["model"])
        bases.retry(session, context, given["model"])
        given["model"] = bases.pinned(session, context, given["model"])
    spec, told = engine_choice.settled(session, context, _merged(row, given))
    # A row may be older than some keys: what it lacks is no change.
    old, new = _stored(_merged(row, {})), _stored(spec)
    if change.defaults is not None:
        defaults.change(session, context, row, change.defaults)
        new["defaults"] = row.spec["defaults"]
    if revisions.needs_processes(old, new):
        if spec.snapshot is None:
            defaults.check_new(session, context, DeploymentSpec.model_validate(new))
        # And no more what was noticed of the files before.
        row.notices = [*spec.notices(), *told]
        revisions.begin(session, context, row, new, "pending" if spec.gate else "skipped")
        parity.ask_anew(context, row)
    elif given or change.defaults is not None:
        row.spec = new
        row.notices = [*row.notices, *(each for each in told if each not in row.notices)]
        _keep_beside(row, given)
        _tell(session, context, row, given, change)
    if {"instance_count", "scale_settings"} & given.keys():
        _scale(row, spec)
    if given.get("gate") is False and not revisions.passed(row):
        parity.skip(session, context, row)


def _stored(spec: DeploymentSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude={"environment_variables"})


def _given(change: DeploymentUpdate) -> dict[str, Any]:
    """What was written, without the defaults; null only where it means something."""
    written = change.model_dump(mode="json", exclude_unset=True, exclude={"defaults"})
    may_be_null = ("scale_settings", "data_collector", "context_length", "quantization")
    return {key: each for key, each in written.items() if each is not None or key in may_be_null}


def _merged(row: DeploymentRow, given: dict[str, Any]) -> DeploymentSpec:
    """The row's spec with `given` over it. Raises InvalidInput with every fault."""
    values = {**row.spec, **given}
    for key in _NESTED:
        if isinstance(given.get(key), dict):
            values[key] = {**(row.spec.get(key) or {}), **given[key]}
    if "engine" in given and "quantization" not in given:
        values["quantization"] = None  # that of the engine before has no say
    try:
        spec = DeploymentSpec.model_validate(values)
    except ValidationError as error:
        faults = [
            Fault(
                ".".join(str(part) for part in each["loc"]) or "deployment",
                str(each["msg"]).removeprefix("Value error, "),
            )
            for each in error.errors()
        ]
        name = f"{row.endpoint}/{row.name}"
        raise InvalidInput(f"Deployment '{name}' cannot be changed so.", faults=faults) from None
    return spec.model_copy(update={"quantization": served_as(spec.engine, spec.quantization)})


def _keep_beside(row: DeploymentRow, given: dict[str, Any]) -> None:
    """While a revision is being rolled out, what is in force at once holds for the older too."""
    if revisions.rolling(row) and row.former:
        changed = {key: row.spec[key] for key in (*given, "defaults")}
        row.former = {**row.former, "spec": {**row.former["spec"], **changed}}


def _scale(row: DeploymentRow, spec: DeploymentSpec) -> None:
    wanted = revisions.wanted(spec, row.wanted)
    if wanted != row.wanted:
        row.wanted = wanted
        if row.state == "Succeeded":
            row.state, row.error = "Updating", None


def _tell(
    session: Session,
    context: Context,
    row: DeploymentRow,
    given: dict[str, Any],
    change: DeploymentUpdate,
) -> None:
    if change.defaults is not None:
        names = ", ".join(sorted(change.defaults.model_fields_set))
        note(session, context, row, "updated", f"Defaults changed: {names}.")
    if given:
        names = ", ".join(sorted(given))
        note(session, context, row, "updated", f"Changed: {names}.")
