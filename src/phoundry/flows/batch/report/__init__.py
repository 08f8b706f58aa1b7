"""One HTML file about one or several runs: it needs no network, no server and no other file.

Whatever comes from data, models or the flow is text there, never markup: Python escapes what it
writes into the page, the script writes text nodes alone, and the page's own policy forbids any
other script and every connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from phoundry.files import PRIVATE, write_atomic
from phoundry.flows.batch.folder import Record, RunFolder
from phoundry.flows.batch.reading import details
from phoundry.flows.batch.report.figures import Figures
from phoundry.flows.batch.report.page import page
from phoundry.flows.batch.report.table import Table


def write_report(runs: Sequence[tuple[RunFolder, Record]], target: Path) -> None:
    """Write the report of `runs` to `target`; of many lines the first, and those that failed.

    Each line is read once, one at a time.
    """
    table = Table([record.name for _, record in runs])
    figures = [Figures(record.name) for _, record in runs]
    for place, (folder, _) in enumerate(runs):
        for line in details(folder):
            table.add(place, line)
            figures[place].add(line)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = page([record for _, record in runs], figures, table)
    write_atomic(target, text.encode("utf-8", "replace"), mode=PRIVATE)
