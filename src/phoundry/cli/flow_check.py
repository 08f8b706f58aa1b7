"""`phoundry flow validate` and `phoundry flow check`: what is wrong, before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.commands import verb
from phoundry.cli.output import Format, Output, Printer, table
from phoundry.cli.screen import echo

if TYPE_CHECKING:
    from phoundry.flows.check import Finding, Report

VERDICTS = ("runs", "needs attention", "cannot run")
WithoutConnections = Annotated[
    bool, typer.Option("--no-connections", help="Say nothing about connections.")
]


def validate(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The flow's folder or file.")],
    no_connections: WithoutConnections = False,
    output: Output = Format.table,
) -> None:
    """Show every fault of a flow at once, with file, line and column. Nothing of it runs.

    An error would fail a run, a warning would not: the exit code is 1 with errors only.
    """
    from phoundry.client import Client

    out = Printer(output)
    report = Client().flows.validate(path, connections=not no_connections)
    if out.talks:
        for finding in report.findings:
            echo(str(finding))
        out.note(_summary(report))
    else:
        out.value(report.to_dict())
    if report.errors:
        raise typer.Exit(1)


def check(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders with flows in them.")
    ],
    no_connections: WithoutConnections = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every finding, not the first.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """Report which of many flows run here, which need attention, and why.

    DAG flows, flex flows and prompties are looked for below every DIR. What this machine lacks (a
    connection, a variable, a package) needs attention. The exit code is 1 only when the files of a
    flow are such that it can't run.
    """
    from phoundry.client import Client

    out = Printer(output)
    reports = Client().flows.check(folders, connections=not no_connections)
    if out.talks:
        _table(out, reports, verbose)
    else:
        out.value(_document(reports))
    if any(report.verdict == "cannot run" for report in reports):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    verb(
        app,
        "validate",
        example="phoundry flow validate my-flow\nphoundry flow validate my-flow -o json",
    )(validate)
    verb(app, "check", example="phoundry flow check flows/ -v\nphoundry flow check . -o json")(
        check
    )


def _summary(report: Report) -> str:
    errors, warnings = len(report.errors), len(report.warnings)
    if not errors and not warnings:
        return f"{report.path.name}: no fault found."
    return f"{report.path.name}: {_count(errors, 'error')}, {_count(warnings, 'warning')}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _table(out: Printer, reports: Sequence[Report], verbose: bool) -> None:
    if not reports:
        out.note("There is no flow here: no flow.dag.yaml, no flow.flex.yaml, no *.prompty.")
        return
    rows = [
        [str(each.path), each.kind, each.verdict, "" if verbose else _first(each)]
        for each in reports
    ]
    echo(table(["flow", "kind", "verdict", "why"], rows))
    for report in reports if verbose else ():
        for finding in report.findings:
            echo(f"{report.path.parent}/{finding}")
    counts = totals(reports)
    told = ", ".join(
        f"{counts[verdict]} {_plural(verdict, counts[verdict])}" for verdict in VERDICTS
    )
    out.note(f"{_count(len(reports), 'flow')}: {told}.")


def _plural(verdict: str, number: int) -> str:
    if number == 1:
        return verdict
    return {"runs": "run", "needs attention": "need attention"}.get(verdict, verdict)


def _first(report: Report) -> str:
    """The gravest finding in few words, and how many there are beside it."""
    ordered: list[Finding] = sorted(
        report.findings, key=lambda item: (item.severity == "warning", item.setup)
    )
    if not ordered:
        return ""
    more = f" (+{len(ordered) - 1})" if len(ordered) > 1 else ""
    first = ordered[0]
    line = first.message.splitlines()[0]
    shown = line if len(line) <= 100 else f"{line[:99]}…"
    return f"{first.place}: {shown}{more}"


def totals(reports: Sequence[Report]) -> dict[str, int]:
    """How many flows have each verdict."""
    counts = Counter(report.verdict for report in reports)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def _document(reports: Sequence[Report]) -> dict[str, Any]:
    return {"flows": [report.to_dict() for report in reports], "totals": totals(reports)}
