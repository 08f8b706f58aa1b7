"""`phoundry flow build`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phoundry.cli.arguments import assignments
from phoundry.cli.output import Format, Printer
from phoundry.errors import UsageError

EXAMPLE = "phoundry flow build my-flow --output dist"
MORE = "The folder holds no secret: settings.json lists the variables that must be set."
KINDS = ("docker", "folder")


def build(
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="The flow's folder or file.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--source", help="PATH, as Prompt flow has it.")
    ] = None,
    to: Annotated[
        Path, typer.Option("--output", "--to", metavar="DIR", help="A new or empty folder.")
    ] = Path("dist"),
    kind: Annotated[
        str, typer.Option("--format", help="docker, or folder: the same without Docker's files.")
    ] = "docker",
    connections: Annotated[
        list[str] | None, typer.Option(help="node.input=connection; remembered.")
    ] = None,
    init: Annotated[
        list[str] | None, typer.Option(help="name=value of a flex flow's class, or a JSON file.")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="${node.variant} to serve.")] = None,
    output: Annotated[
        Format,
        typer.Option("-o", "--output-format", help="How to print the result.", show_choices=True),
    ] = Format.table,
) -> None:
    """Write a folder, for Docker or without, from which the flow is served by itself."""
    from phoundry.cli.flow_inputs import read_inputs
    from phoundry.client.flow_serving import build_folder

    chosen = path or source
    if chosen is None or (path and source):
        raise UsageError("Name the flow's folder once.", remedy="Write: phoundry flow build PATH")
    if kind not in KINDS:
        hint = "Executables are not built here. " if "exec" in kind else ""
        raise UsageError(f"--format is '{kind}'.", remedy=f"{hint}Take one of: {', '.join(KINDS)}.")
    out = Printer(output)
    made = build_folder(
        chosen,
        to,
        kind=kind,
        overrides=assignments(connections, "--connections"),
        variant=variant,
        init=read_inputs(init or [], "--init"),
    )
    for notice in made.notices:
        out.note(f"Note: {notice}")
    out.value(
        {
            "path": str(made.path),
            "format": kind,
            "variables": made.variables,
            "connections": made.connections,
            "notices": made.notices,
        }
    )
    out.suggest(f"cat {made.path / 'README.md'}")
