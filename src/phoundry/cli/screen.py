"""Text that did not come from us, made harmless for a terminal.

A model, a data set, a server or a tool's log may hold control characters, with which a terminal can
be told to clear the screen, to rename its window or to write into the clipboard. They are shown,
never obeyed.
"""

from __future__ import annotations

import sys

import typer

from phoundry.cli.escaping import escaped, visible
from phoundry.settings import Settings

__all__ = ["echo", "echo_marked", "escaped", "visible"]


def echo_marked(mark: str, colour: str, text: str) -> None:
    """Print `mark`, in a colour where colours are wanted, and after it `text`, `visible`."""
    if Settings().coloured(terminal=sys.stdout.isatty()):
        mark = typer.style(mark, fg=colour)
    typer.echo(mark + visible(text), color=True)


def echo(text: str = "", *, nl: bool = True, err: bool = False) -> None:
    """Print text for people, `visible`."""
    typer.echo(visible(text), nl=nl, err=err)
