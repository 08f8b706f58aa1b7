"""`phoundry run`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phoundry.cli.arguments import confirm
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
    described,
    spec_of,
)
from phoundry.cli.flow_run_shown import Name, register
from phoundry.cli.flow_run_source import taken_in
from phoundry.cli.output import Format, Output, Printer
from phoundry.errors import Conflict

if TYPE_CHECKING:
    from phoundry.specs.flow_run import FlowRun, FlowRunSpec

app = noun("Batch runs of flows.")
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
    source: Annotated[
        Path | None, typer.Option(help="Run nothing: keep the run in this folder of Prompt flow's.")
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
    if source is not None:
        others = [key for key, value in {**given, "file": file}.items() if value and key != "name"]
        Printer(output).one(taken_in(str(source), name, settings, others))
        return
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
    client.flows.tell = out.note  # what is installed for a flow takes minutes
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
    client.flows.tell = out.note
    with followed(out, "Running", name) as tell:
        run = client.runs.resume(
            name, retry_failed=retry_failed, workers=workers, timeout=timeout, on_progress=tell
        )
    print_run(out, client, run)


register(app)


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
    plain, tags = described(settings)
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
    try:
        held = f"its {client.runs.show(name).lines.total:,} lines"
    except Conflict:  # its record can't be read
        held = "its files"
    confirm(f"Remove the run '{name}' with {held}?", yes=yes)
    client.runs.delete(name)
    out = Printer(output)
    out.value({"deleted": name}, text=f"Removed the run {name}.")


def _say(output: Format, run: FlowRun, done: str) -> None:
    out = Printer(output)
    out.value(run.model_dump(mode="json"), text=f"Run {run.name} is {done}.")
