"""Which column of a source is which part of a conversation: `--map question=prompt`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from phoundry.errors import Fault, InvalidInput, nearest

PARTS = (
    "messages",
    "question",
    "answer",
    "system",
    "input",
    "chosen",
    "rejected",
    "tools",
)


def parse_mapping(texts: Iterable[str]) -> dict[str, str]:
    """`["question=prompt"]` as part to column; the part may stand on either side.

    Where both sides are parts, the left one is taken as the part until `settle` sees the columns.

    Raises:
        InvalidInput: every one that is no part and column.
    """
    mapping: dict[str, str] = {}
    faults: list[Fault] = []
    for text in texts:
        left, equals, right = (piece.strip() for piece in text.partition("="))
        part, column = (right, left) if right in PARTS and left not in PARTS else (left, right)
        if not equals or not column or part not in PARTS:
            near = nearest(part, PARTS)
            hint = f"; is {near[0]} meant?" if near and column else ""
            faults.append(Fault(f"--map {text}", f"no PART=COLUMN{hint}"))
        elif part in mapping:
            faults.append(Fault(f"--map {text}", f"'{part}' has the column '{mapping[part]}'"))
        else:
            mapping[part] = column
    if faults:
        raise InvalidInput(
            "The mapping cannot be used.",
            faults=faults,
            remedy=f"Write --map PART=COLUMN; parts are {', '.join(PARTS)}.",
        )
    return mapping


def settle(mapping: Mapping[str, str], columns: Collection[str], name: str) -> dict[str, str]:
    """The mapping for a file that has `columns`: of two names of parts, the column is the column.

    Raises:
        InvalidInput: every part that is unknown, and every column that is not there.
    """
    settled: dict[str, str] = {}
    faults: list[Fault] = []
    for part, column in mapping.items():
        if column not in columns and part in columns and column in PARTS:
            part, column = column, part
        if part not in PARTS:
            near = nearest(part, PARTS, limit=1)
            hint = f"; is '{near[0]}' meant?" if near else ""
            faults.append(Fault(f"{part}={column}", f"there is no part '{part}'{hint}"))
        elif column not in columns:
            near = nearest(column, columns, limit=1)
            hint = f"; is '{printable(near[0])}' meant?" if near else ""
            faults.append(Fault(f"{part}={column}", f"{name} has no column '{column}'{hint}"))
        else:
            settled[part] = column
    if faults:
        raise InvalidInput(
            f"The mapping does not fit {name}, which has the columns {listed(columns)}.",
            faults=faults,
            remedy=f"Write --map PART=COLUMN; parts are {', '.join(PARTS)}.",
        )
    return settled


def listed(columns: Iterable[str], most: int = 12) -> str:
    """`q, a, id`: the first ones by name."""
    names = list(columns)
    shown = ", ".join(map(printable, names[:most]))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{shown}{more}" if names else "none"


def printable(column: str) -> str:
    """A column's name in at most 40 characters that every terminal takes."""
    text = column.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 40 else f"{text[:39]}…"
