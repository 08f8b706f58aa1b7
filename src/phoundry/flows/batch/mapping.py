"""Column mapping: which column of which source fills which input of the flow.

A value `${source.column}` is a reference, any other text and any other value is literal. The source
is `data`, `run.inputs` or `run.outputs`. An input without a default that is not mapped takes
`${data.<input>}`; one with a default keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.batch.errors import ApplyInputMappingError
from phoundry.flows.errors import FlowValidationError
from phoundry.flows.model import FlowInput

LINE_NUMBER = "line_number"
_REFERENCE = re.compile(r"^\$\{([^{}]+)\}$")
Rows = Mapping[str, Mapping[str, Any]]  # a row of each source, by the source's name


@dataclass(frozen=True, slots=True)
class Taken:
    """An input filled from a source. `places` are the readings of `written`, as (source, column):
    `${run.outputs.a}` is tried as column `outputs.a` of `run` before `a` of `run.outputs`."""

    input: str
    written: str
    places: tuple[tuple[str, str], ...]


class ColumnMapping:
    """The mapping of a run, made ready for many lines.

    Raises:
        FlowValidationError: every value of `given` is literal, so that all lines would be equal.
    """

    def __init__(self, given: Mapping[str, Any], inputs: Mapping[str, FlowInput]) -> None:
        check_bound(given)
        whole: dict[str, Any] = {
            name: f"${{data.{name}}}" for name, spec in inputs.items() if spec.required
        }
        whole.update(given)
        whole.pop(LINE_NUMBER, None)
        self.unread = [name for name in inputs if name not in whole]
        self.defaults = {
            name: inputs[name].default for name in self.unread if not inputs[name].optional
        }
        literals = {name: item for name, item in whole.items() if _reference(item) is None}
        self.literals = self.defaults | literals
        self.taken = [
            Taken(name, item, _places(found))
            for name, item in whole.items()
            if (found := _reference(item)) is not None
        ]

    def overlooked(self, rows: Rows) -> list[str]:
        """What to say of columns that look as if an input would be filled from them, and it is not:
        its default wins, as in Prompt flow."""
        return [
            f"The column '{name}' of the data is not read: the input '{name}' has a default, which "
            f"wins as in Prompt flow. To read it: --column-mapping {name}='${{data.{name}}}'"
            for name in self.unread
            if name in rows.get("data", {})
        ]

    def line(self, rows: Rows) -> tuple[dict[str, Any], Sequence[str]]:
        """The inputs of one line, and the references that none of its rows can fill."""
        inputs = dict(self.literals)
        missing: list[str] = []
        for item in self.taken:
            for source, column in item.places:
                row = rows.get(source)
                if row is not None and column in row:
                    inputs[item.input] = row[column]
                    break
            else:
                missing.append(item.written)
        return inputs, missing


def check_bound(given: Mapping[str, Any]) -> None:
    """Refuse a mapping that takes nothing from any source, as Prompt flow does."""
    if given and not any(isinstance(item, str) and item.startswith("$") for item in given.values()):
        raise FlowValidationError(
            "Column mapping must contain at least one mapping binding, current column mapping "
            f"contains all static values: {dict(given)}",
            remedy="Write an input as '${data.COLUMN}'.",
        )


def not_found(relations: Sequence[str], rows: Rows | None = None) -> ApplyInputMappingError:
    """The error of references that nothing fills; `rows` is a line to say what there is."""
    known = [f"${{{name}.{column}}}" for name, row in (rows or {}).items() for column in row]
    near = [f"{item} → {found[0]}" for item in relations if (found := nearest(item, known))]
    remedy = f"There are {', '.join(known[:20])}." if known else None
    if near:
        remedy = f"Did you mean {', '.join(near)}? {remedy}"
    return ApplyInputMappingError(
        "The input for batch run is incorrect. Couldn't find these mapping relations: "
        f"{', '.join(relations)}. Please make sure your input mapping keys and values match your "
        "YAML input section and input data.",
        remedy=remedy,
    )


def _reference(value: Any) -> str | None:
    match = _REFERENCE.search(value) if isinstance(value, str) else None
    return match[1] if match else None


def _places(reference: str) -> tuple[tuple[str, str], ...]:
    parts = reference.split(".")
    return tuple((".".join(parts[:cut]), ".".join(parts[cut:])) for cut in range(1, len(parts)))
