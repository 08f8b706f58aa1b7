"""Whose value wins, every fault at once, and what is worth saying of the values that won."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from phoundry.errors import Fault, InvalidInput, nearest
from phoundry.specs.finetune.contradictions import contradictions
from phoundry.specs.finetune.parameters import NO_EFFECT, FineTuneParameters

Source = Literal["user", "model", "machine", "measured", "default"]


def resolve(
    user: Mapping[str, Any],
    *,
    model: Mapping[str, Any] | None = None,
    machine: Mapping[str, Any] | None = None,
    where: str = "--set",
    validation: bool | None = None,
) -> tuple[FineTuneParameters, dict[str, Source]]:
    """Parameters and, for each, the source that won: user over machine over model over default.

    Args:
        where: begins each fault's place.
        validation: whether there are conversations to evaluate on; None: not known, or not yet.

    Raises:
        InvalidInput: with one fault for each unknown name, each bad value and each contradiction
            among the rest, all together.
    """
    layers: list[tuple[Source, Mapping[str, Any]]] = [
        ("model", model or {}),
        ("machine", machine or {}),
        ("user", user),
    ]
    merged: dict[str, Any] = {}
    sources: dict[str, Source] = dict.fromkeys(FineTuneParameters.model_fields, "default")
    for source, values in layers:
        merged.update(values)
        sources.update({name: source for name in values if name in sources})
    parameters, faults = checked(merged)
    sound = set(user) - {fault.where for fault in faults}
    faults += [
        Fault(found.names[0], found.reason)
        for found in contradictions(parameters, sound, validation=validation)
    ]
    if faults:
        raise InvalidInput(
            "The training parameters are not usable.",
            faults=[Fault(f"{where} {fault.where}", fault.reason) for fault in faults],
            remedy="See `phoundry train --help` for every parameter and its range.",
        )
    return parameters, sources


def checked(values: Mapping[str, Any]) -> tuple[FineTuneParameters, list[Fault]]:
    """Parameters of the values that are sound, and a fault for each other, its name as `where`."""
    faults: list[Fault] = []
    sound = dict(values)
    try:
        return FineTuneParameters.model_validate(sound), faults
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0]) if detail["loc"] else "parameters"
            faults.append(Fault(name, _reason(name, detail)))
            sound.pop(name, None)
    return FineTuneParameters.model_validate(sound), faults


def _reason(name: str, detail: Any) -> str:
    if detail["type"] == "extra_forbidden":
        near = nearest(name, FineTuneParameters.model_fields)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        return f"unknown parameter{hint}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{message}, found {detail['input']!r}"


def notices(parameters: FineTuneParameters, sources: Mapping[str, str]) -> list[str]:
    """What a user should know of the values they wrote that do something else here, or nothing."""
    written = {name for name, source in sources.items() if source == "user"}
    said = [
        f"{name}={_plain(getattr(parameters, name))} is taken and has no effect here: {why}."
        for name, why in NO_EFFECT.items()
        if name in written and getattr(parameters, name) != _default(name)
    ]
    if parameters.pad_to_max_length and "pad_to_max_length" in written:
        said.append(
            "pad_to_max_length=true is taken and has no effect here: padding is never learnt "
            "from, so none is made."
        )
    if parameters.dataloader_num_workers and "dataloader_num_workers" in written:
        said.append(
            f"dataloader_num_workers={parameters.dataloader_num_workers}: so many processes "
            "tokenise the data before the first step; none loads them afterwards."
        )
    if not parameters.resume_from_checkpoint and "resume_from_checkpoint" in written:
        said.append(
            "resume_from_checkpoint=false: a job that is resumed, or was killed, begins again with "
            "its first step."
        )
    if parameters.apply_lora and not parameters.merge_lora_weights:
        said.append(
            "merge_lora_weights is false: the adapter stays by itself in output/adapter of the "
            "job's folder; a registered version is merged all the same."
        )
    return said


def _default(name: str) -> Any:
    return FineTuneParameters.model_fields[name].default


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
