"""What can be wrong with a batch run before its first line runs, with Prompt flow's codes."""

from __future__ import annotations

from collections.abc import Iterable

from phoundry.flows.errors import FlowUserError, FlowValidationError

SHOWN = 20  # faults of a data file that a message lists


class InputMappingError(FlowValidationError):
    """A column that is not there, or sources whose lines do not belong together."""

    code = "InputMappingError"


class ApplyInputMappingError(InputMappingError):
    """`${data.x}` of which no row has an `x`."""

    code = "ApplyInputMappingError"


class EmptyInputsData(FlowUserError):
    code = "EmptyInputsData"


class InvalidUserData(FlowUserError):
    """A data file that can't be read; every fault with its line."""

    code = "InvalidUserData"


def invalid_data(name: str, faults: Iterable[str], total: int) -> InvalidUserData:
    """The error of the data file `name` with `total` faults, of which `faults` are the first."""
    lines = [f"{name} cannot be used as data: {total:,} fault{'s' * (total != 1)}."]
    lines += [f"  {fault}" for fault in faults]
    if total > SHOWN:
        lines.append(f"  … and {total - SHOWN:,} more")
    return InvalidUserData(
        "\n".join(lines),
        remedy="One JSON object a line (.jsonl), a list of objects (.json), or a table with a "
        "line of column names (.csv, .tsv).",
    )
