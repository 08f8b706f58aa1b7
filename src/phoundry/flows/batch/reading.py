"""The lines of a run as they are shown: what each was given, gave, took and lacked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from phoundry.flows.batch.folder import RunFolder
from phoundry.flows.batch.journal import load_index
from phoundry.flows.batch.mapping import LINE_NUMBER
from phoundry.flows.batch.text import value_of

TAKEN = ("seconds", "error", "log")


def details(folder: RunFolder, *, failed: bool = False) -> Iterator[dict[str, Any]]:
    """`{"line_number", "status", "inputs", "outputs", "seconds", "error", "log"}` of every line, by
    line number; a line that has not ended is `NotStarted`. `failed`: those that failed alone.

    Lines are read as they are taken; memory is that of the index.
    """
    if not folder.inputs.exists():
        return
    index = load_index(folder.inputs, folder.journal, shown=True)
    with folder.inputs.open("rb") as inputs, folder.journal_file() as journal:
        for offset, line in zip(index.offsets, inputs, strict=True):
            given: dict[str, Any] = value_of(line)
            number = given.pop(LINE_NUMBER)
            found = _at(journal, offset)
            if failed and found.get("status") != "Failed":
                continue
            yield {
                LINE_NUMBER: number,
                "status": found.get("status", "NotStarted"),
                "inputs": given,
                "outputs": fields(found.get("output")),
                **{key: found.get(key) for key in TAKEN},
            }


def _at(journal: Any, offset: int) -> dict[str, Any]:
    if offset < 0:
        return {}
    journal.seek(offset)
    return value_of(journal.readline())


def fields(output: Any) -> dict[str, Any]:
    """The outputs of a line by name. A flex flow may return anything: what is no mapping is the
    output `output`."""
    if output is None:
        return {}
    return cast("dict[str, Any]", output) if isinstance(output, dict) else {"output": output}
