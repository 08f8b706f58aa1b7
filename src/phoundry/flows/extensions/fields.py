"""Reading the mapping behind an added key: every wrong field is a fault with its line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.document import Document, Place, is_list, is_mapping
from phoundry.flows.errors import FlowDefinitionError, FlowError


def numeric(value: Any) -> Any:
    """`value`, or the number that it spells: what comes from the environment is text."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of `data`, which stands at `at` of the document; faults go to `errors`."""

    document: Document
    at: Place
    data: dict[str, Any]
    errors: list[FlowError]

    @classmethod
    def of(
        cls,
        document: Document,
        at: Place,
        value: Any,
        known: Sequence[str],
        errors: list[FlowError],
    ) -> Fields | None:
        """None, with a fault, when `value` is no mapping."""
        if not is_mapping(value):
            fields = cls(document, at, {}, errors)
            fields.fault("is no mapping", f"Its keys are {', '.join(known)}.")
            return None
        fields = cls(document, at, value, errors)
        for key in value:
            if key not in known:
                near = nearest(str(key), known) or list(known)
                fields.fault(f"has no key '{key}'", f"Did you mean {' or '.join(near)}?", str(key))
        return fields

    def fault(self, found: str, remedy: str, key: str | None = None) -> None:
        place = self.at if key is None else (*self.at, key)
        name = ".".join(str(part) for part in self.at[2:])
        self.errors.append(
            FlowDefinitionError(
                f"`{name}` {found}.", remedy=remedy, where=self.document.where(*place)
            )
        )

    def number(self, key: str, default: float, *, least: float, whole: bool = False) -> Any:
        """A finite number of at least `least`; `default` where there is a fault or no key."""
        value = numeric(self.data.get(key, default))
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            noun = "whole number" if whole else "number"
            self.fault(f"has `{key}: {value}`, which is no {noun}", f"Write {key}: {default}", key)
        elif value < least:
            self.fault(f"has `{key}: {value}`", f"It is at least {least:g}.", key)
        else:
            return value
        return default

    def names(self, key: str) -> tuple[str, ...]:
        """A list of names, or one name."""
        value = self.data.get(key)
        if isinstance(value, str):
            return (value,)
        if is_list(value) and all(isinstance(item, str) for item in value):
            return tuple(value)
        self.fault(f"has a `{key}` that is no list of names", f"Write {key}: [name, …]", key)
        return ()

    def word(self, key: str, default: str, known: Sequence[str]) -> str:
        """One of `known`. YAML reads a bare `null` as nothing, so that counts as the word."""
        value = self.data.get(key, default)
        text = "null" if value is None else str(value)
        if text not in known:
            self.fault(f"has `{key}: {value}`", f"Use one of {', '.join(known)}.", key)
            return default
        return text
