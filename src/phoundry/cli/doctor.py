"""`phoundry doctor`"""

from __future__ import annotations

from typing import Annotated

import typer

from phoundry.cli.commands import alone
from phoundry.cli.output import Format, Output, Printer, table
from phoundry.cli.screen import echo, echo_marked

MARKS = {"ok": "ok", "warn": "note", "fail": "FAIL"}
COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@alone(example="phoundry doctor\nphoundry doctor --offline -o json")
def doctor(
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask nothing beyond this machine.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """Check that everything needed is there.

    Python, processor, memory, disk, packages, the home with its key file and database, ports and
    the hub; with the way to mend what is not in order. Nothing is started or changed. Exits 1 if
    something has to be mended.
    """
    from phoundry.services.doctor import examine
    from phoundry.settings import Home

    checks = examine(Home.current(), offline=offline)
    failed = [check for check in checks if check.state == "fail"]
    out = Printer(output)
    if out.talks:
        rows = [[MARKS[check.state], check.name, check.found] for check in checks]
        titles, *lines = table(["", "check", "found"], rows).splitlines()
        echo(titles)
        for check, line in zip(checks, lines, strict=True):
            mark = MARKS[check.state]
            echo_marked(mark, COLOURS[check.state], line.removeprefix(mark))
            if check.remedy:
                echo(f"      → {check.remedy}")
        warned = sum(check.state == "warn" for check in checks)
        out.note(f"{len(checks)} checks: {len(failed)} to mend, {warned} to know about.")
    else:
        found = [check.model_dump(mode="json") for check in checks]
        out.value({"ok": not failed, "checks": found})
    if failed:
        raise typer.Exit(1)
