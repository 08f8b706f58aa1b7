"""Building a spec from arguments, with our errors instead of pydantic's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from phoundry.errors import Fault, InvalidInput, nearest

SpecT = TypeVar("SpecT", bound=BaseModel)


def checked(kind: type[SpecT], values: Mapping[str, Any], what: str) -> SpecT:
    """`values` as a `kind`; `what` names it in a message.

    Raises:
        InvalidInput: with every fault.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        faults = [_fault(detail, kind) for detail in error.errors(include_url=False)]
    raise InvalidInput(f"{what} cannot be used.", faults=faults)


def _fault(detail: Any, kind: type[BaseModel]) -> Fault:
    name = ".".join(str(part) for part in detail["loc"]) or "value"
    if detail["type"] == "extra_forbidden":
        near = nearest(name, kind.model_fields)
        return Fault(name, "unknown key" + (f"; did you mean {near[0]}?" if near else ""))
    if detail["type"] == "missing":
        return Fault(name, "is missing")
    message = str(detail["msg"]).removeprefix("Value error, ")
    if "secret" in name or detail["type"] == "value_error":
        return Fault(name, message)  # never a secret's value; our own messages name theirs
    return Fault(name, f"{message}, found {detail['input']!r}")
