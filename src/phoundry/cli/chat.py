"""`phoundry chat`"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from phoundry.cli.arguments import assignments
from phoundry.cli.commands import alone
from phoundry.cli.output import Format, Output, Printer
from phoundry.cli.screen import echo, visible
from phoundry.errors import PhoundryError, UsageError
from phoundry.settings import Settings

if TYPE_CHECKING:
    from phoundry.cli.partners import Partner

HELP = "/reset  forget the conversation    /exit or Ctrl-D  leave    /help  this"


@alone(
    example=(
        "phoundry chat faq\n"
        "phoundry chat my-flow/ --compare smollm2-135m-instruct\n"
        'phoundry chat faq/blue --message "When is a permit needed?"'
    )
)
def chat(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="Flow folder, ENDPOINT, ENDPOINT/DEPLOYMENT, model."),
    ],
    compare: Annotated[
        str | None, typer.Option(help="Also ask this model or endpoint, side by side.")
    ] = None,
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Ask this and leave.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message (not for flows).")] = None,
    chat_input: Annotated[str | None, typer.Option(help="The flow's chat input.")] = None,
    chat_output: Annotated[str | None, typer.Option(help="The flow's chat output.")] = None,
    connections: Annotated[
        list[str] | None,
        typer.Option(help="Connection of a flow's input, node.input=name; remembered."),
    ] = None,
    output: Output = Format.table,
) -> None:
    """Chat with a flow, an endpoint or a model.

    A model that is not deployed gets an endpoint of its own while the chat lasts. Standard input
    that is no terminal is read line by line, a question each.
    """
    from phoundry.cli.partners import open_partners
    from phoundry.client import Client

    if output is not Format.table and message is None:
        raise UsageError("-o json and -o yaml need --message.", remedy='Add --message "…".')
    out = Printer(output)
    with ExitStack() as stack:
        partners = open_partners(
            Client(),
            stack,
            out,
            target=target,
            compare=compare,
            system=system,
            chat_input=chat_input,
            chat_output=chat_output,
            connections=assignments(connections, "--connections"),
        )
        if message is not None:
            _once(out, partners, message)
        else:
            _talk(out, partners)


def _once(out: Printer, partners: list[Partner], message: str) -> None:
    if out.talks:
        answer(partners, message)
        return
    answers = [{"name": each.name, "answer": "".join(each.ask(message))} for each in partners]
    out.value({"message": message, "answers": answers})


def _talk(out: Printer, partners: list[Partner]) -> None:
    """Question and answer until the end of input. In a terminal a failed answer ends nothing."""
    terminal = sys.stdin.isatty()
    if terminal:
        out.note(f"Chat with {' and '.join(each.name for each in partners)}. {HELP}")
    for text in _questions(terminal):
        if text == "/exit":
            break
        if text.startswith("/"):
            _command(out, partners, text)
            continue
        try:
            answer(partners, text)
        except PhoundryError as error:
            if not terminal:
                raise
            out.note(f"Error: {error}")
        except KeyboardInterrupt:
            if not terminal:
                raise
            out.note("\n(interrupted; Ctrl-D leaves)")


def _command(out: Printer, partners: list[Partner], text: str) -> None:
    if text == "/reset":
        for each in partners:
            each.reset()
        out.note("The conversation is forgotten.")
    else:
        out.note(HELP if text == "/help" else f"There is no {text.split()[0]}. {HELP}")


def _questions(terminal: bool) -> Iterator[str]:
    """Lines that are typed or piped in, without the empty ones."""
    if terminal:
        # Arrow keys and history at the prompt.
        import readline  # noqa: F401  # pyright: ignore[reportUnusedImport]
    while True:
        try:
            text = input("> " if terminal else "").strip()
        except EOFError:
            return
        if text:
            yield text


def answer(partners: list[Partner], text: str) -> None:
    """Print every partner's answer as it comes; side by side where the terminal is wide enough."""
    if len(partners) == 1:
        for piece in partners[0].ask(text):
            echo(piece, nl=False)
        echo()
    elif Settings().lively(terminal=sys.stdout.isatty()):
        _side_by_side(partners, text)
    else:
        for each in partners:
            echo(f"[{each.name}]")
            for piece in each.ask(text):
                echo(piece, nl=False)
            echo("\n")


def _side_by_side(partners: list[Partner], text: str) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    answers = [""] * len(partners)

    def columns() -> Table:
        grid = Table(expand=True)
        for each in partners:
            grid.add_column(each.name, ratio=1, overflow="fold")
        grid.add_row(*[Text(visible(said)) for said in answers])
        return grid

    with Live(columns(), console=Console(), auto_refresh=False) as live:
        for index, each in enumerate(partners):
            for piece in each.ask(text):
                answers[index] += piece
                live.update(columns(), refresh=True)
