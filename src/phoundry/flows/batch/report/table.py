"""The lines of the report's table: those of several runs side by side, by line number."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

MOST_LINES = 2_000  # of one run; a browser sorts and filters so many at once
MOST_FAILED = 1_000  # that failed, beyond those
EXACT = 2**53 - 1  # the largest whole number of JavaScript; beyond it they are text
LONGEST = 2_000  # characters of a cell


class Table:
    """Columns are found while lines come; a cell is a number or text."""

    def __init__(self, runs: Sequence[str]) -> None:
        self._runs = runs
        self._several = len(runs) > 1
        self._rows: dict[int, dict[str, Any]] = {}
        self._columns: dict[str, None] = {}
        self._failed = 0
        self.seen = [0] * len(runs)

    def add(self, run: int, line: Mapping[str, Any]) -> None:
        """Take in a line of the run at place `run`, as `reading.details` gives it."""
        number: int = line["line_number"]
        self.seen[run] += 1
        if number not in self._rows and len(self._rows) - self._failed >= MOST_LINES:
            if line["status"] != "Failed" or self._failed >= MOST_FAILED:
                return
            self._failed += 1
        row = self._rows.setdefault(number, {})
        for name, value in line["inputs"].items():
            row.setdefault(f"inputs.{name}", value)
            self._columns.setdefault(f"inputs.{name}")
        before = f"{self._runs[run]}: " if self._several else ""
        outputs = {f"outputs.{name}": value for name, value in line["outputs"].items()}
        cells = {"status": line["status"], **outputs, "seconds": line["seconds"]}
        if error := line["error"]:
            cells["error"] = error.get("message")
        for name, value in cells.items():
            row[before + name] = value
            self._columns.setdefault(before + name)

    @property
    def shown(self) -> int:
        return len(self._rows)

    def content(self) -> dict[str, Any]:
        """`{"columns": […], "rows": [[line number, cell, …], …]}`"""
        columns = list(self._columns)
        rows = [
            [number, *(cell(self._rows[number].get(name)) for name in columns)]
            for number in sorted(self._rows)
        ]
        return {"columns": ["line", *columns], "rows": rows}


def cell(value: Any) -> Any:
    """A value as a cell: a number that a browser has, else text, cut where it is long."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        text = "" if value is None else text
        return text if len(text) <= LONGEST else text[:LONGEST] + "…"
    if isinstance(value, int):
        return value if abs(value) <= EXACT else str(value)
    return value if math.isfinite(value) else str(value)
