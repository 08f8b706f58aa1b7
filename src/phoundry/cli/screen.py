"""Text that did not come from us, made harmless for a terminal.

A model, a data set, a server or a tool's log may hold control characters, with which a terminal can
be told to clear the screen, to rename its window or to write into the clipboard. They are shown,
never obeyed.
"""

from __future__ import annotations

import sys

import typer

from phoundry.cli.escaping import escaped
from phoundry.settings import Settings

__all__ = ["echo", "echo_marked", "escaped", "visible"]

# Line feed and tab stay; the others have pictures of their own, or are unknown to Unicode's.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t\r"}
# Halves of characters, as a cut emoji leaves them, can't be encoded at all.
_CONTROLS = (
    _PICTURES | {0x7F: 0x2421} | dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000)], 0xFFFD)
)


def visible(text: str) -> str:
    """`text` with pictures in place of control characters; a carriage return begins a line."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)


def echo_marked(mark: str, colour: str, text: str) -> None:
    """Print `mark`, in a colour where colours are wanted, and after it `text`, `visible`."""
    if Settings().coloured(terminal=sys.stdout.isatty()):
        mark = typer.style(mark, fg=colour)
    typer.echo(mark + visible(text), color=True)


def echo(text: str = "", *, nl: bool = True, err: bool = False) -> None:
    """Print text for people, `visible`."""
    typer.echo(visible(text), nl=nl, err=err)
