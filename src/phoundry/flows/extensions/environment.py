"""`${env:NAME}` in any value of a flow's file, alone or within a text; `${env:NAME:-text}` has a
default. It is put in before anything else is read, so types and checks see the value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from phoundry.flows.document import Document, Place, is_list, is_mapping
from phoundry.flows.errors import EnvironmentVariableMissing, FlowError

VARIABLE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")
_MARK = "${env:"


def fill_environment(
    document: Document, environ: Mapping[str, str], errors: list[FlowError]
) -> None:
    """Put the variables of `environ` into the document; a missing one is a fault with its line."""
    filled = _filled(document, (), document.data, environ, errors)
    document.data.update(filled)


def _filled(
    document: Document, at: Place, value: Any, environ: Mapping[str, str], errors: list[FlowError]
) -> Any:
    if is_mapping(value):
        return {
            key: _filled(document, (*at, key), item, environ, errors) for key, item in value.items()
        }
    if is_list(value):
        return [_filled(document, (*at, n), item, environ, errors) for n, item in enumerate(value)]
    if not isinstance(value, str) or _MARK not in value:
        return value

    def text(match: re.Match[str]) -> str:
        default: str | None = match[2]
        found = environ.get(match[1], default)
        if found is None:
            errors.append(
                EnvironmentVariableMissing(
                    f"The environment variable '{match[1]}' is not set.",
                    remedy=f"Set it, or write a default: ${{env:{match[1]}:-text}}",
                    where=document.where(*at),
                )
            )
            return ""
        return found

    return VARIABLE.sub(text, value)
