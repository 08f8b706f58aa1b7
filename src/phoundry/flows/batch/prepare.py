"""Before the first line runs: what each line is given, for all lines, into `inputs.jsonl`.

Faults of the data and of the mapping show here, before a model was asked anything; and a run that
goes on later goes on with what it began with, whatever has become of the data meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phoundry.files import PRIVATE, atomic_file
from phoundry.flows.batch.errors import InputMappingError
from phoundry.flows.batch.folder import RunFolder
from phoundry.flows.batch.join import joined
from phoundry.flows.batch.journal import Index
from phoundry.flows.batch.mapping import LINE_NUMBER, ColumnMapping, Rows, not_found
from phoundry.flows.batch.text import line_of


@dataclass(slots=True)
class Prepared:
    """`missing`: the references that a line's own rows cannot fill, by line number. Such a line
    fails, the others run; a reference that no line can fill fails the run before it begins.
    `notices`: what else whoever began the run should know."""

    index: Index
    notices: Sequence[str] = ()
    missing: dict[int, Sequence[str]] = field(default_factory=dict[int, Sequence[str]])


def prepare(
    folder: RunFolder,
    sources: Mapping[str, Path],
    mapping: ColumnMapping,
    *,
    limit: int | None = None,
) -> Prepared:
    """Write `inputs.jsonl` of the run; `limit` takes only so many lines.

    Raises:
        NotFound, InvalidUserData, EmptyInputsData: the sources cannot be used.
        InputMappingError: the sources share no line, or a mapped column is nowhere.
    """
    found = Prepared(Index())
    lacking: dict[str, int] = {}
    sample: Rows = {}
    with atomic_file(folder.inputs, mode=PRIVATE) as file:
        for number, rows in joined(sources):
            inputs, missing = mapping.line(rows)
            if missing:
                found.missing[number] = missing
                for relation in missing:
                    lacking[relation] = lacking.get(relation, 0) + 1
            sample = sample or rows
            found.index.add(number)
            file.write(line_of({LINE_NUMBER: number, **inputs}))
            if limit is not None and len(found.index) >= limit:
                break
        nowhere = [relation for relation, lines in lacking.items() if lines == len(found.index)]
        if nowhere:
            raise not_found(nowhere, sample)
        found.notices = mapping.overlooked(sample)
        if not len(found.index):
            raise InputMappingError(
                "The input for batch run is incorrect. Could not find one complete line on the "
                "provided input. Please ensure that you supply data on the same line to resolve "
                "this issue."
            )
    return found
