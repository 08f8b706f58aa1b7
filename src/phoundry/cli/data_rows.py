"""Rows of a data asset for people to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from phoundry.cli.output import Printer, cell, sheet
from phoundry.cli.screen import echo

if TYPE_CHECKING:
    from phoundry.specs.data import DataAsset, DataDiff

SKIPPED = 5  # of the rows that were left out, so many are printed


def print_asset(out: Printer, asset: DataAsset) -> None:
    """The asset; of the rows that were left out only the first few, unless as JSON or YAML."""
    fields = asset.model_dump(mode="json")
    shown = dict(fields)
    told = [f"{row.where}: {row.reason}" for row in asset.skipped_rows[:SKIPPED]]
    if asset.skipped > len(told):
        told.append(f"… and {asset.skipped - len(told):,} more")
    shown["skipped_rows"] = told
    out.value(fields, text=None if not out.talks else sheet(shown))


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Each row after an empty line."""
    for row in rows:
        echo("\n" + "\n".join(row_lines(row)))


def row_lines(row: Mapping[str, Any]) -> Iterator[str]:
    """A conversation, or a pair with its two answers under headings."""
    if tools := row.get("tools"):
        yield "tools: " + ", ".join(tool_name(tool) for tool in tools)
    if "messages" in row:
        yield from _turns(row["messages"])
        return
    yield from _turns(row.get("prompt", []))
    for part in ("chosen", "rejected"):
        yield f"– {part} –"
        yield from _turns(row[part])


def tool_name(tool: Any) -> str:
    """OpenAI's `{"type": "function", "function": {"name": …}}`, or what else stands there."""
    try:
        return str(tool.get("function", tool)["name"])
    except (AttributeError, KeyError, TypeError):  # tools are kept as they come
        return "?"


def _turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for turn in messages:
        who = turn["role"] + (f" ({turn['name']})" if turn.get("name") else "")
        skipped = " (not learnt)" if turn.get("weight") == 0 else ""
        if turn.get("content") or not turn.get("tool_calls"):
            yield f"{who}{skipped}: {turn.get('content', '')}"
        for call in turn.get("tool_calls", []):
            function = call["function"]
            yield f"{who}{skipped} calls {function['name']}({function['arguments']})"


def print_diff(found: DataDiff) -> None:
    """What differs, as changed settings, counts, and the first rows with + and -."""
    echo(
        f"{found.before} → {found.after}: {found.added:,} rows added, {found.removed:,} removed, "
        f"{found.kept:,} kept"
        + (f" ({found.moved:,} of them on the other side)" if found.moved else "")
    )
    width = max((len(change.field) for change in found.changes), default=0)
    for change in found.changes:
        echo(f"  {change.field.ljust(width)}  {_short(change.before)} → {_short(change.after)}")
    for mark, rows in (("-", found.removed_rows), ("+", found.added_rows)):
        for row in rows:
            lines = "\n".join(row_lines(row)).splitlines()
            echo("\n" + "\n".join(f"{mark} {line}" for line in lines))


def _short(value: Any) -> str:
    text = cell(value) or "(nothing)"
    return text if len(text) <= 60 else text[:59] + "…"
