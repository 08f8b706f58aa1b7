"""Faults of training parameters in a YAML file, with its lines."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from phoundry.errors import Fault, InvalidInput
from phoundry.specs import yaml
from phoundry.specs.finetune.contradictions import contradictions
from phoundry.specs.finetune.resolution import checked

SECTIONS = ("hyperparameters", "parameters", "finetune")


def written_faults(name: str, document: Any, section: str, *, values: bool = True) -> list[Fault]:
    """What is wrong with `document[section]`, whatever the model recommends and the machine is.

    A contradiction is told here only if every parameter of it stands in the file; the others
    `resolve` finds. `name` is the file's, for the places: `job.yaml:12`. Without `values`, nothing
    is told but contradictions.
    """
    entries = document.get(section)
    if not hasattr(entries, "keys"):
        return []
    given = {str(key): value for key, value in cast(dict[Any, Any], entries).items()}
    parameters, bad = checked(given)
    sound = set(given) - {fault.where for fault in bad}
    found = bad if values else []
    found += [
        Fault(each.names[0], each.reason)
        for each in contradictions(parameters, sound)
        if sound.issuperset(each.names)
    ]
    found.sort(key=lambda fault: list(given).index(fault.where))  # as they stand in the file
    return [_placed(name, document, section, fault) for fault in found]


def located(
    error: InvalidInput, name: str, document: Any, overridden: Collection[str] = ()
) -> InvalidInput:
    """`error` with the lines of `document` for the faults that `resolve` found in it.

    `overridden` parameters have a value that does not stand there.
    """
    return InvalidInput(
        error.message,
        faults=[_where(fault, name, document, overridden) for fault in error.faults],
        total=error.total,
        remedy=error.remedy,
    )


def _where(fault: Fault, name: str, document: Any, overridden: Collection[str]) -> Fault:
    """`hyperparameters lora_r` is a line of the file, if the parameter stands there."""
    place, _, parameter = fault.where.partition(" ")
    if parameter in overridden:
        return fault
    for section in SECTIONS if place in SECTIONS else ():
        if parameter and parameter in (document.get(section) or {}):
            return _placed(name, document, section, Fault(parameter, fault.reason))
    return fault


def _placed(name: str, document: Any, section: str, fault: Fault) -> Fault:
    line = yaml.line_of(document, (section, fault.where)) or 1
    return Fault(f"{name}:{line}", f"{section}.{fault.where}: {fault.reason}")
