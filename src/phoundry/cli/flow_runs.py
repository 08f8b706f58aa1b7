"""`phoundry run`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.arguments import assignments, confirm
from phoundry.cli.commands import noun, verb
from phoundry.cli.flow_run_options import (
    Connections,
    Data,
    Environment,
    Init,
    Mapped,
    Run,
    Split,
    Timeout,
    Variant,
    Workers,
    spec_of,
)
from phoundry.cli.output import Format, Output, Printer
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phoundry.specs.flow_run import FlowRun, FlowRunSpec

app = noun("Batch runs of flows.")
Name = Annotated[str, typer.Argument(help="Name of the run.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of runs.")]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Run the lines that failed again, too.")
]


@verb(
    app,
    "create",
    example=(
        "phoundry run create --flow my-flow --data questions.jsonl\n"
        "phoundry run create --flow my-flow --data faq:1 --split test "
        "--column-mapping question='${data.question}' --name base\n"
        "phoundry run create --flow my-eval --run base --data faq.jsonl "
        "--column-mapping answer='${run.outputs.answer}' truth='${data.answer}'\n"
        "phoundry run create -f run.yaml --set name=second"
    ),
)
def create(
    flow: Annotated[str | None, typer.Option(help="Folder or file of the flow.")] = None,
    data: Data = None,
    mapping: Mapped = None,
    run: Run = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Name of the run.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A run's YAML, as Prompt flow has it.")
    ] = None,
    variant: Variant = None,
    connections: Connections = None,
    environment_variables: Environment = None,
    init: Init = None,
    split: Split = None,
    workers: Workers = None,
    timeout: Timeout = None,
    resume_from: Annotated[
        str | None,
        typer.Option("--resume-from", help="A run whose completed lines are taken over."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a key: name=v, display_name=v, tags.a=v."),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", "-s", help="Print what the lines printed, at the end.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """Run a flow over many lines and keep what each gave.

    Inputs of the flow take the columns of the data that have their names, unless they have a
    default or are mapped. Lines that fail don't stop the run; it then ends with exit code 1.
    Ctrl-C leaves a run that `phoundry run resume NAME` takes up.
    """
    given = {
        "flow": flow,
        "data": data,
        "column_mapping": mapping,
        "run": run,
        "name": name,
        "variant": variant,
        "connections": connections,
        "environment_variables": environment_variables,
        "init": init,
        "split": split,
        "workers": workers,
        "timeout": timeout,
        "resume_from": resume_from,
    }
    run_batch(spec_of(file, given, settings), output, stream=stream)


@verb(app, "resume", example="phoundry run resume base\nphoundry run resume base --retry-failed")
def resume(
    name: Name,
    retry_failed: RetryFailed = False,
    workers: Workers = None,
    timeout: Timeout = None,
    output: Output = Format.table,
) -> None:
    """Go on with a run that was interrupted: completed lines stay as they are."""
    _go_on(name, output, retry_failed=retry_failed, workers=workers, timeout=timeout)


@verb(app, "retry", example="phoundry run retry base")
def retry(
    name: Name, workers: Workers = None, timeout: Timeout = None, output: Output = Format.table
) -> None:
    """Run the failed lines of a run again, and those that never ran."""
    _go_on(name, output, retry_failed=True, workers=workers, timeout=timeout)


def run_batch(spec: FlowRunSpec, output: Format, *, stream: bool = False) -> None:
    """Run what `spec_of` gave, showing how far it is: `run create` and `flow run`."""
    from phoundry.cli.flow_run_view import followed, print_run
    from phoundry.client import Client

    out = Printer(output)
    client = Client()
    with followed(out, "Running") as tell:
        run = client.runs.create(spec, on_progress=tell)
    print_run(out, client, run, stream=stream)


def _go_on(
    name: str, output: Format, *, retry_failed: bool, workers: int | None, timeout: float | None
) -> None:
    from phoundry.cli.flow_run_view import followed, print_run
    from phoundry.client import Client

    out = Printer(output)
    client = Client()
    with followed(out, "Running", name) as tell:
        run = client.runs.resume(
            name, retry_failed=retry_failed, workers=workers, timeout=timeout, on_progress=tell
        )
    print_run(out, client, run)


@verb(app, "list", example="phoundry run list\nphoundry run list --include-archived -r 10")
def list_(
    max_results: Annotated[
        int, typer.Option("--max-results", "-r", min=1, help="So many runs, the newest first.")
    ] = 50,
    all_results: Annotated[bool, typer.Option("--all-results", help="Every run.")] = False,
    archived_only: Annotated[bool, typer.Option("--archived-only")] = False,
    include_archived: Annotated[bool, typer.Option("--include-archived")] = False,
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


@verb(app, "show", example="phoundry run show base")
def show(name: Name, output: Output = Format.table) -> None:
    """Show a run."""
    from phoundry.client import Client

    Printer(output).one(Client().runs.show(name))


@verb(
    app,
    "show-details",
    example="phoundry run show-details base\nphoundry run show-details base --failed",
)
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


@verb(app, "show-metrics", example="phoundry run show-metrics base")
def show_metrics(name: Name, output: Output = Format.table) -> None:
    """Show what a run's aggregation logged."""
    from phoundry.client import Client

    out = Printer(output)
    metrics = dict(Client().runs.metrics(name))
    if not metrics and out.talks:
        out.note(f"The run '{name}' has no metrics.")
    else:
        out.value(metrics)


@verb(app, "compare", example="phoundry run compare base tuned")
def compare(names: Names, output: Output = Format.table) -> None:
    """Show runs side by side: lines, time and every metric."""
    from phoundry.cli.flow_run_view import print_comparison
    from phoundry.client import Client

    client = Client()
    print_comparison(Printer(output), [client.runs.show(name) for name in names])


@verb(app, "visualize", example="phoundry run visualize base tuned --to report.html")
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


@verb(app, "update", example="phoundry run update base --set display_name='before tuning' tags.k=v")
def update(
    name: Name,
    settings: Annotated[
        list[str], typer.Option("--set", help="display_name=v, description=v or tags.NAME=v.")
    ],
    output: Output = Format.table,
) -> None:
    """Change a run's display name, description or tags."""
    from phoundry.client import Client

    client = Client()
    given = assignments(settings, "--set")
    tags = {key[5:]: text for key, text in given.items() if key.startswith("tags.")}
    plain = {key: text for key, text in given.items() if not key.startswith("tags.")}
    if unknown := sorted(plain.keys() - {"display_name", "description"}):
        raise UsageError(
            f"A run's {', '.join(unknown)} can't be changed.",
            remedy="Set display_name, description or tags.NAME.",
        )
    changed = client.runs.show(name).tags | tags if tags else None
    Printer(output).one(client.runs.update(name, **plain, tags=changed))


@verb(app, "archive", example="phoundry run archive base")
def archive(name: Name, output: Output = Format.table) -> None:
    """Leave a run out of lists; its files stay."""
    from phoundry.client import Client

    _say(output, Client().runs.archive(name), "archived")


@verb(app, "restore", example="phoundry run restore base")
def restore(name: Name, output: Output = Format.table) -> None:
    """Take an archived run back into lists."""
    from phoundry.client import Client

    _say(output, Client().runs.restore(name), "restored")


@verb(app, "delete", example="phoundry run delete base -y")
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    output: Output = Format.table,
) -> None:
    """Remove a run and its files."""
    from phoundry.client import Client

    client = Client()
    run = client.runs.show(name)
    confirm(f"Remove the run '{name}' with its {run.lines.total:,} lines?", yes=yes)
    client.runs.delete(name)
    out = Printer(output)
    out.value({"deleted": name}, text=f"Removed the run {name}.")


def _say(output: Format, run: FlowRun, done: str) -> None:
    out = Printer(output)
    out.value(run.model_dump(mode="json"), text=f"Run {run.name} is {done}.")
