"""What a deployment's document changes of the deployment that is there.

Defaults, description and tags are those of the document. Of all else, keys that are not written
stay as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from phoundry.journey.planning import changes_between
from phoundry.specs.deployment import (
    Deployment,
    DeploymentSpec,
    DeploymentUpdate,
    GenerationDefaults,
)
from phoundry.specs.names import split_version
from phoundry.specs.plan import Change
from phoundry.specs.quantization import served_as

# What needs other replicas, and what is in force at once.
ROLLED_OUT = ("flow", "model", "engine", "quantization", "context_length")
AT_ONCE = ("instance_count", "request_settings", "liveness_probe", "readiness_probe")
# These are replaced whole, so that what is not written in them is the default.
WHOLE = ("scale_settings", "data_collector")


def changes(found: Deployment, wanted: DeploymentSpec) -> list[Change]:
    """The fields in which the document differs from `found`."""
    old = _always(found)
    new = _always(wanted)
    before = found.model_dump(mode="json")
    after = wanted.model_dump(mode="json")
    written = wanted.model_dump(mode="json", exclude_unset=True)
    for field in (*ROLLED_OUT, *AT_ONCE, *WHOLE):
        if field not in written:
            continue
        old[field], new[field] = before[field], after[field]
        if field in AT_ONCE and isinstance(written[field], dict):
            old[field] = {key: before[field][key] for key in written[field]}
            new[field] = written[field]
    if wanted.flow is not None:
        _flow(found, wanted, old, new)
    elif "model" in new and _serves(found.model, wanted.model):
        new["model"] = old["model"]
    if "quantization" in new:
        new["quantization"] = served_as(wanted.engine, wanted.quantization)
    return changes_between(old, new)


def _flow(
    found: Deployment, wanted: DeploymentSpec, old: dict[str, Any], new: dict[str, Any]
) -> None:
    """Of a flow its files count: a folder that has changed is another one."""
    from phoundry.flows import load_flow
    from phoundry.serving.flow.packing import pack

    for field in ("model", "engine", "quantization"):  # follow from the flow
        old.pop(field, None)
        new.pop(field, None)
    kept = found.snapshot.sha256 if found.snapshot else None
    files = hashlib.sha256(pack(load_flow(str(wanted.flow)))).hexdigest()
    if files == kept and found.init == wanted.init:
        old["flow"] = new["flow"]  # the same files, wherever they are
    else:
        old["flow"], new["flow"] = found.model, f"{wanted.flow} ({files[:8]})"


def update(found: Deployment, wanted: DeploymentSpec) -> DeploymentUpdate | None:
    """What `deployments.update` is to be given; None where nothing differs."""
    fields = {change.field.split(".")[0] for change in changes(found, wanted)}
    if not fields:
        return None
    values: dict[str, Any] = {
        field: getattr(wanted, field)
        for field in (*ROLLED_OUT, *AT_ONCE, *WHOLE)
        if field in fields
    }
    if "flow" in values:
        values["connections"] = wanted.connections or None
        values["init"] = wanted.init or None
    return DeploymentUpdate(
        **values,
        defaults=GenerationDefaults.model_validate(wanted.defaults.model_dump()),
        description=wanted.description,
        tags=wanted.tags,
    )


def rolls_out(planned: list[Change]) -> bool:
    """Whether other replicas are started beside those that serve."""
    return any(change.field in ROLLED_OUT for change in planned)


def _always(one: Deployment | DeploymentSpec) -> dict[str, Any]:
    defaults: Mapping[str, Any] = one.defaults.model_dump(mode="json")
    return {**defaults, "description": one.description, "tags": one.tags}


def _serves(found: str, wanted: str) -> bool:
    """Whether the model `found` is the one that `wanted` names, with or without a version."""
    served, (name, version) = split_version(found), split_version(wanted)
    return served[0] == name and version in (None, served[1])
