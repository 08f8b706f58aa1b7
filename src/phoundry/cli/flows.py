"""`phoundry flow`: the noun and its verbs. Each verb is in a module of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phoundry.cli import flow_check, flow_edit, flow_environments, flow_run, flow_serve, flow_test
from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer

app = noun("Prompt flow folders.")


@verb(app, "init", example="phoundry flow init my-chat --connection faq")
def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A new or empty folder.")],
    template: Annotated[str, typer.Option(help="chat, python or evaluation.")] = "chat",
    connection: Annotated[
        str | None, typer.Option(help="Connection its model is called by.")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Make a flow folder that Prompt flow could run, too."""
    from phoundry.client import Client

    out = Printer(output)
    folder = Client().flows.init(path, template=template, connection=connection)
    files = sorted(file.name for file in folder.iterdir())
    out.value({"path": str(folder), "files": files})
    out.suggest(f"phoundry chat {path}" if template == "chat" else f"phoundry flow test {path}")


flow_test.register(app)
flow_check.register(app)
flow_edit.register(app)
flow_run.register(app)
flow_serve.register(app)
flow_environments.register(app)
