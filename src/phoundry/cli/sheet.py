"""Values and tables as people read them. Nothing but text: `quick` prints with it, too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two spaces apart, under titles in capitals."""
    lines = [[title.upper() for title in titles], *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(titles))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def sheet(fields: Mapping[str, Any]) -> str:
    """A resource as `name  value` lines; empty fields are left out, events come last."""
    shown = {key: value for key, value in fields.items() if value not in (None, "", [], {})}
    events: list[dict[str, Any]] = shown.pop("events", [])
    width = max((len(key) for key in shown), default=0)
    lines: list[str] = []
    for key, value in shown.items():
        first, *rest = _lines(value)
        lines.append(f"{key.ljust(width)}  {first}")
        lines += [" " * (width + 2) + line for line in rest]
    if events:
        lines.append("events")
        lines += [f"  {moment(e['time'])}  {e['kind']}  {e['message']}".rstrip() for e in events]
    return "\n".join(lines)


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return [f"{key} = {cell(item)}" for key, item in items if item is not None] or [""]
    if isinstance(value, list):
        return [cell(item) for item in cast("list[Any]", value)]
    return cell(value).splitlines() or [""]


def cell(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return moment(value.isoformat())
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    text = str(value)
    return moment(text) if _is_moment(text) else text


def moment(text: str) -> str:
    """An ISO time as local date, hour, minute and second."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _is_moment(text: str) -> bool:
    return len(text) >= 19 and text[4:5] == "-" and text[10:11] == "T" and text[13:14] == ":"


def duration(seconds: float) -> str:
    """`45 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
