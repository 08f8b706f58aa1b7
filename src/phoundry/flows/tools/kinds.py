"""What kind of value each parameter of an imported tool takes.

`signature.py` reads the same from source, for checks that may run nothing of the user's. Where the
flow runs, the function itself says more: the type of a default that is worked out, an enumeration
from another file, a name that stands for a type. The rules were observed with Prompt flow: an
annotation counts as the object that it is, so text in quotes and `int | None` say nothing, while
`Optional[int]` is int; without one the default's type counts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from enum import EnumMeta
from typing import Any, Union, get_args, get_origin

from phoundry.flows.signature import VALUE_KINDS, Signature

_PROVIDED = "phoundry.flows.provided."  # where Secret, FilePath, Image … come from


def with_kinds(signature: Signature, *functions: Callable[..., Any]) -> Signature:
    """`signature` with the kinds that the parameters of `functions` have; connections stay."""
    found: dict[str, inspect.Parameter] = {}
    for function in functions:
        try:
            found.update(inspect.signature(function).parameters)
        except (TypeError, ValueError):
            return signature  # a callable that can't say what it takes
    parameters = {
        name: replace(item, kind=kind_of(found[name]))
        if name in found and not item.connections
        else item
        for name, item in signature.parameters.items()
    }
    return replace(signature, parameters=parameters)


def kind_of(parameter: inspect.Parameter) -> str:
    """The kind of `values.VALUE_TYPES` that literals for `parameter` are converted to."""
    wanted: Any = parameter.annotation
    default: Any = parameter.default
    if wanted is parameter.empty:
        wanted = object if default is parameter.empty else default.__class__
    elif get_origin(wanted) is Union:
        members = [item for item in get_args(wanted) if item is not type(None)]
        wanted = members[0] if len(members) == 1 else object
    if isinstance(wanted, EnumMeta):
        return "string"
    if not isinstance(wanted, type) or not _known(wanted):
        return "object"
    return VALUE_KINDS.get(wanted.__name__, "object")


def _known(wanted: type) -> bool:
    """Whether the name of the class means what Prompt flow means by it."""
    return wanted.__module__ == "builtins" or wanted.__module__.startswith(_PROVIDED)
