"""What passes by while something is waited for: a live display in a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from phoundry.cli.output import Printer
from phoundry.settings import Settings

LINE_SECONDS = 10.0  # between two lines about the same thing where nothing can be redrawn


@dataclass(frozen=True, slots=True)
class Bar:
    """How far something is, for a terminal: `title`, a bar, `aside`; below it `detail`."""

    title: str
    share: float  # 0 to 1
    aside: str = ""
    detail: str = ""


class Show(Protocol):
    def __call__(self, line: str, about: str | None, bar: Bar | None = None) -> None:
        """Show a line, and what it is about (None: it is final and stays). `bar` says the same
        for a terminal."""
        ...


@contextmanager
def displayed(out: Printer) -> Generator[Show]:
    """Yield `show(line, about)`: a final line stays, a passing one is replaced by the next.

    Where standard error is no terminal, a passing line is printed when what it is about changes,
    and otherwise every few seconds.
    """
    if not out.talks:
        yield lambda line, about, bar=None: None
    elif Settings().lively(terminal=sys.stderr.isatty()):
        from phoundry.cli.live import live

        with live() as show:
            yield show
    else:
        yield _lines(out)


def _lines(out: Printer) -> Show:
    subject: str | None = None
    told = 0.0

    def show(line: str, about: str | None, bar: Bar | None = None) -> None:
        nonlocal subject, told
        now = time.monotonic()
        if about is None or about != subject or now - told >= LINE_SECONDS:
            subject, told = about, now
            out.note(line)

    return show
