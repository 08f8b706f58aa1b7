"""Inputs and outputs of a run as a table: pandas' where it is installed, else a light one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Columns = dict[str, list[Any]]
FAILED = "(Failed)"


def columns_of(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """`inputs.<name>…`, `inputs.line_number`, `outputs.<name>…`, each with a value for every row.
    A line that failed has `(Failed)` as its outputs; one that has not ended, None."""
    names = {
        kind: list(dict.fromkeys(name for row in rows for name in row[kind]))
        for kind in ("inputs", "outputs")
    }
    found: Columns = {
        f"inputs.{name}": [row["inputs"].get(name) for row in rows] for name in names["inputs"]
    }
    found["inputs.line_number"] = [row["line_number"] for row in rows]
    for name in names["outputs"]:
        found[f"outputs.{name}"] = [
            FAILED if row["status"] == "Failed" else row["outputs"].get(name) for row in rows
        ]
    return found


def as_table(columns: Columns) -> Any:
    """A pandas DataFrame, or a `Details` where pandas is not installed."""
    try:
        from pandas import DataFrame
    except ImportError:
        return Details(columns)
    return DataFrame(columns)


class Details:
    """The part of a DataFrame that scripts use to look: `columns`, `table["outputs.x"]`, `len`,
    `head(n)`, `to_dict("records")`, printing.

    Raises (for any other attribute):
        AttributeError: with how to get the real thing.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    @property
    def columns(self) -> list[str]:
        return list(self._columns)

    def __len__(self) -> int:
        return max(map(len, self._columns.values()), default=0)

    def __getitem__(self, name: str) -> list[Any]:
        return list(self._columns[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def head(self, n: int = 5) -> Details:
        return Details({name: values[:n] for name, values in self._columns.items()})

    def to_dict(self, orient: str = "dict") -> Any:
        """`records`: a dict a row; `list`: a list a column; `dict`: by row number a column."""
        if orient == "records":
            rows = zip(*self._columns.values(), strict=True)
            return [dict(zip(self._columns, row, strict=True)) for row in rows]
        if orient == "list":
            return {name: list(values) for name, values in self._columns.items()}
        if orient == "dict":
            return {name: dict(enumerate(values)) for name, values in self._columns.items()}
        raise ValueError(f"orient is 'records', 'list' or 'dict' here, not {orient!r}.")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"This table has no '{name}': pandas is not installed. Install it for a DataFrame: "
            "pip install pandas"
        )

    def __str__(self) -> str:
        lines = [self.columns, *([str(row[name]) for name in self] for row in self._rows())]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    __repr__ = __str__

    def _rows(self) -> list[dict[str, Any]]:
        return self.to_dict("records")
