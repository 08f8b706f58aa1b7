"""The verbs of `phoundry run` that show runs and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.commands import verb
from phoundry.cli.output import Format, Output, Printer
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phoundry.specs.flow_run import FlowRun

Name = Annotated[str, typer.Argument(help="Name of the run.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of runs.")]


def list_(
    max_results: Annotated[
        int, typer.Option("--max-results", "-r", min=1, help="So many runs, the newest first.")
    ] = 50,
    all_results: Annotated[bool, typer.Option("--all-results", help="Every run.")] = False,
    archived_only: Annotated[bool, typer.Option("--archived-only", help="Only those.")] = False,
    include_archived: Annotated[
        bool, typer.Option("--include-archived", help="Archived ones, too.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """List runs, the newest first."""
    from phoundry.cli.flow_run_view import lines_told
    from phoundry.client import Client

    runs = Client().runs.list(
        limit=None if all_results else max_results,
        archived=archived_only,
        everything=include_archived,
    )
    columns: dict[str, Callable[[FlowRun], Any]] = {
        "name": lambda run: run.name,
        "status": lambda run: run.status,
        "lines": lines_told,
        "created": lambda run: run.created,
        "metrics": lambda run: run.metrics or None,
    }
    Printer(output).many(
        runs, columns, "There are no runs. Make one: phoundry run create --flow F --data D"
    )


def show(name: Name, output: Output = Format.table) -> None:
    """Show a run."""
    from phoundry.client import Client

    Printer(output).one(Client().runs.show(name))


def show_details(
    name: Name,
    max_results: Annotated[
        int, typer.Option("--max-results", "-r", min=1, help="So many lines.")
    ] = 100,
    all_results: Annotated[bool, typer.Option("--all-results", help="Every line.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only lines that failed.")] = False,
    output: Output = Format.table,
) -> None:
    """Show the lines of a run: inputs, outputs, what went wrong."""
    from phoundry.cli.flow_run_view import print_details
    from phoundry.client import Client

    limit = None if all_results else max_results
    print_details(Printer(output), Client().runs.details(name, limit=limit, failed=failed))


def show_metrics(name: Name, output: Output = Format.table) -> None:
    """Show what a run's aggregation logged."""
    from phoundry.client import Client

    out = Printer(output)
    metrics = dict(Client().runs.metrics(name))
    if not metrics and out.talks:
        out.note(f"The run '{name}' has no metrics.")
    else:
        out.value(metrics)


def compare(names: Names, output: Output = Format.table) -> None:
    """Show runs side by side: lines, time and every metric."""
    from phoundry.cli.flow_run_view import print_comparison
    from phoundry.client import Client

    client = Client()
    print_comparison(Printer(output), [client.runs.show(name) for name in names])


def visualize(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Names of runs, or comma separated.")
    ],
    to: Annotated[
        Path | None, typer.Option("--to", "--html-path", help="The file; report.html of the run.")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Write an HTML report of runs: tables to sort and filter, plots; one file, nothing else."""
    from phoundry.client import Client

    chosen = [part for name in names for part in name.split(",") if part]
    if not chosen:
        raise UsageError("No run is named.", remedy="Write the names of runs.")
    client = Client()
    target = to or Path(client.runs.show(chosen[0]).output) / "report.html"
    path = client.runs.visualize(chosen, target)
    out = Printer(output)
    out.value({"report": str(path)}, text=str(path))
    out.note("Open it in a browser; it needs no network and no server.")


def register(app: typer.Typer) -> None:
    verb(app, "list", example="phoundry run list\nphoundry run list --include-archived -r 10")(
        list_
    )
    verb(app, "show", example="phoundry run show base")(show)
    verb(
        app,
        "show-details",
        example="phoundry run show-details base\nphoundry run show-details base --failed",
    )(show_details)
    verb(app, "show-metrics", example="phoundry run show-metrics base")(show_metrics)
    verb(app, "compare", example="phoundry run compare base tuned")(compare)
    verb(app, "visualize", example="phoundry run visualize base tuned --to report.html")(visualize)
