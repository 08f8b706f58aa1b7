"""`phoundry flow serve`, and beside it `phoundry flow build`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from phoundry.cli import flow_build
from phoundry.cli.arguments import assignments
from phoundry.cli.commands import verb
from phoundry.cli.output import echo
from phoundry.errors import UsageError

EXAMPLE = (
    "phoundry flow serve my-flow --port 8080\n"
    'curl localhost:8080/score --json \'{"question": "When is a permit needed?"}\''
)
MORE = (
    "On another address than loopback every request needs a key: the one in PHOUNDRY_FLOW_KEY, or\n"
    "in --key-file, else one that is made and kept. Put TLS in front of it."
)


def register(app: typer.Typer) -> None:
    """Add the verbs to the noun."""
    verb(app, "serve", example=EXAMPLE, more=MORE)(serve)
    verb(app, "build", example=flow_build.EXAMPLE, more=flow_build.MORE)(flow_build.build)


def serve(
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="The flow's folder or file.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--source", help="PATH, as Prompt flow has it.")
    ] = None,
    port: Annotated[int, typer.Option(help="0: any free one.", min=0, max=65535)] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    connections: Annotated[
        list[str] | None, typer.Option(help="node.input=connection; remembered.")
    ] = None,
    connections_dir: Annotated[
        Path | None,
        typer.Option(help="Take connections from the files of this folder alone."),
    ] = None,
    init: Annotated[
        list[str] | None, typer.Option(help="name=value of a flex flow's class, or a JSON file.")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="${node.variant} to serve.")] = None,
    environment_variables: Annotated[
        list[str] | None, typer.Option(help="name=value, set while the flow runs.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that run the flow.", min=1, max=64)] = 1,
    threads: Annotated[
        int, typer.Option(help="Requests at once in each of them.", min=1, max=256)
    ] = 16,
    timeout: Annotated[
        float, typer.Option(help="Seconds that one request may take.", min=0.1)
    ] = 600.0,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the key that requests must carry.")
    ] = None,
    static_folder: Annotated[
        Path | None,
        typer.Option("--static_folder", "--static-folder", help="Folder in place of the page."),
    ] = None,
    skip_open_browser: Annotated[
        bool,
        typer.Option("--skip-open-browser/--open-browser", help="Whether to open the page."),
    ] = True,
    engine: Annotated[
        str | None, typer.Option(help="Taken for Prompt flow's sake: there is one.", hidden=True)
    ] = None,
) -> None:
    """Put a flow behind an address: POST /score, and a page to chat on."""
    from phoundry.cli.flow_inputs import read_inputs
    from phoundry.client.flow_serving import Serving, serving

    chosen = path or source
    if chosen is None or (path and source):
        raise UsageError("Name the flow's folder once.", remedy="Write: phoundry flow serve PATH")
    asked = Serving(
        path=chosen,
        host=host,
        port=port,
        overrides=assignments(connections, "--connections"),
        connections_dir=connections_dir,
        init=read_inputs(init or [], "--init"),
        variant=variant,
        environment=assignments(environment_variables, "--environment-variables"),
        workers=workers,
        threads=threads,
        timeout=timeout,
        key_file=key_file,
        static=static_folder,
    )
    with serving(asked, note=_note, log=_log) as served:
        _note(f"{served.flow.root.name} answers at {served.address}")
        _note(f"  POST {served.address}/score   page {served.address}/   Ctrl-C ends it")
        if served.key_at:
            _note(f"  Requests need the key in {served.key_at} (Authorization: Bearer KEY).")
        if not skip_open_browser:
            import webbrowser

            webbrowser.open(served.address)
        served.run()


def _note(text: str) -> None:
    echo(text, err=True)


def _log(text: str) -> None:
    sys.stderr.write(text)
