"""How Prompt flow prints what scripts read: JSON with four blanks, tables with bars."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from phoundry.cli.screen import echo, escaped


def print_json(value: Any) -> None:
    typer.echo(escaped(json.dumps(value, ensure_ascii=False, indent=4)))


def note(text: str) -> None:
    """Narration, on standard error, where no script reads it as data."""
    echo(text, err=True)


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """A grid with a column for every key of `rows`, numbered from 0."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [["", *columns]]
    cells += [[str(number), *(_cell(row.get(key)) for key in columns)]
              for number, row in enumerate(rows)]  # fmt: skip
    widths = [max(len(line[index]) for line in cells) for index in range(len(cells[0]))]
    rule = "+".join("-" * (width + 2) for width in widths)
    lines = [f"+{rule}+"]
    for number, line in enumerate(cells):
        shown = " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        lines += [f"| {shown} |", f"+{rule.replace('-', '=') if number == 0 else rule}+"]
    echo("\n".join(lines))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(text.split())
