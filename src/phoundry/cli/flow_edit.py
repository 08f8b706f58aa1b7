"""`phoundry flow set`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phoundry.cli.arguments import assignments
from phoundry.cli.commands import verb
from phoundry.cli.output import Format, Output, Printer

EXAMPLE = (
    "phoundry flow set my-flow nodes.ask.inputs.temperature=0.2\n"
    'phoundry flow set my-flow nodes.ask.connection=faq inputs.question.default="Hello?"'
)


def set_values(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The flow's folder or file.")],
    changes: Annotated[
        list[str], typer.Argument(metavar="PLACE=VALUE...", help="What to set to what.")
    ],
    output: Output = Format.table,
) -> None:
    """Set values in a flow's file; comments, order and everything else stay as they are.

    A node is named by its name: nodes.NAME.inputs.x=1. JSON is read as JSON, so that "3" in quotes
    is a text; other words are text as they are.
    """
    from phoundry.client import Client
    from phoundry.flows.editing import read_value

    values = {name: read_value(text) for name, text in assignments(changes, "PLACE").items()}
    file = Client().flows.set(path, values)
    out = Printer(output)
    out.value({"path": str(file), "set": values})
    out.suggest(f"phoundry flow validate {path}")


def register(app: typer.Typer) -> None:
    verb(app, "set", example=EXAMPLE)(set_values)
