"""`phoundry flow run`: the short form of `phoundry run create --flow`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phoundry.cli.commands import verb
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
from phoundry.cli.output import Format, Output

EXAMPLE = (
    "phoundry flow run my-flow --data questions.jsonl\n"
    "phoundry flow run my-eval --run base --column-mapping answer='${run.outputs.answer}'"
)


def run(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The flow's folder or file.")],
    data: Data = None,
    mapping: Mapped = None,
    of_run: Run = None,
    run_name: Annotated[str | None, typer.Option("--run-name", help="Name of the run.")] = None,
    variant: Variant = None,
    connections: Connections = None,
    environment_variables: Environment = None,
    init: Init = None,
    split: Split = None,
    workers: Workers = None,
    timeout: Timeout = None,
    output: Output = Format.table,
) -> None:
    """Run a flow over many lines: `phoundry run create --flow PATH` in fewer words.

    The exit code is 1 when a line failed. `phoundry run` shows, resumes and compares runs.
    """
    from phoundry.cli.flow_runs import run_batch

    given = {
        "flow": str(path),
        "data": data,
        "column_mapping": mapping,
        "run": of_run,
        "name": run_name,
        "variant": variant,
        "connections": connections,
        "environment_variables": environment_variables,
        "init": init,
        "split": split,
        "workers": workers,
        "timeout": timeout,
    }
    run_batch(spec_of(None, given, None), output)


def register(app: typer.Typer) -> None:
    verb(app, "run", example=EXAMPLE)(run)
