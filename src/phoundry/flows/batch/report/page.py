"""The report's HTML around its figures and its table."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

from phoundry.flows.batch.folder import Record
from phoundry.flows.batch.report.figures import Figures, bars
from phoundry.flows.batch.report.table import Table, cell


def page(records: Sequence[Record], figures: Sequence[Figures], table: Table) -> str:
    """The whole document."""
    script, style = _text("report.js"), _text("report.css")
    title = "Run " + ", ".join(record.display_name or record.name for record in records)
    seen = max(table.seen, default=0)
    shown = f"{seen:,} lines."
    if table.shown < seen:
        shown = f"{table.shown:,} of {seen:,} lines: the first ones, and others that failed."
    plots = [*_metric_bars(records), *(svg for each in figures for svg in each.svgs())]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(script, style)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<h1>{escape(title)}</h1>
{_summary(records)}
<section class="plots">{"".join(plots)}</section>
<section>
<h2>Lines</h2>
<div class="tools">
<input id="filter" type="search" placeholder="Filter" aria-label="Filter lines by words">
<label><input id="failed" type="checkbox"> only failed</label>
<p class="hint">{escape(shown)} <span id="count" role="status"></span></p>
</div>
<div class="wide" tabindex="0" role="region" aria-label="Lines">
<table id="lines"><thead></thead><tbody></tbody></table>
</div>
<button id="more" type="button" hidden>Show more</button>
</section>
<script type="application/json" id="data">{_embedded(table.content())}</script>
<script>{script}</script>
</body>
</html>
"""


def _summary(records: Sequence[Record]) -> str:
    metrics = list(dict.fromkeys(name for record in records for name in record.metrics))
    facts: list[tuple[str, list[Any]]] = [
        ("status", [record.status for record in records]),
        ("lines", [record.lines.total for record in records]),
        ("completed", [record.lines.completed for record in records]),
        ("failed", [record.lines.failed for record in records]),
        ("seconds", [round(record.seconds, 3) for record in records]),
        ("flow", [record.flow for record in records]),
        ("variant", [record.variant for record in records]),
        ("data", [record.data for record in records]),
        ("run", [record.run for record in records]),
        ("column mapping", [record.column_mapping or None for record in records]),
        ("begun", [_moment(record.started) for record in records]),
        *((name, [_number(record.metrics.get(name)) for record in records]) for name in metrics),
        ("error", [_message(record) for record in records]),
    ]
    head = "".join(f'<th scope="col">{escape(record.name)}</th>' for record in records)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(str(cell(value)))}</td>" for value in values)
        + "</tr>"
        for name, values in facts
        if any(value is not None for value in values)
    )
    return (
        f"<div class='over'><table class='summary'><thead><tr><th></th>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _moment(iso: str | None) -> str | None:
    """To the second, and the zone in words: the record has the rest."""
    return iso and iso[:19].replace("T", " ") + " UTC"


def _number(value: Any) -> Any:
    """Six digits of a metric; `metrics.json` has the rest."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _message(record: Record) -> str | None:
    error = record.error or record.aggregation_error
    return str(error.get("message")) if error else None


def _metric_bars(records: Sequence[Record]) -> list[str]:
    """Of several runs: a single bar says nothing."""
    if len(records) < 2:
        return []
    metrics = dict.fromkeys(name for record in records for name in record.metrics)
    found: list[str] = []
    for name in metrics:
        values = {
            record.name: float(value)
            for record in records
            if isinstance(value := record.metrics.get(name), int | float)
        }
        if values:
            found.append(bars(name, values))
    return found


def _embedded(value: Any) -> str:
    """JSON that no text in it can end: `</script>` and `<!--` have no `<` left."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _policy(script: str, style: str) -> str:
    """This script and this style alone, and no connection to anywhere."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _text(name: str) -> str:
    return resources.files(__package__ or "").joinpath(name).read_text(encoding="utf-8")
