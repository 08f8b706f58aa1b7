"""The live display of a terminal: one line that is written over, with a bar where there is one.

Imported only where there is a terminal to draw on: rich takes a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from phoundry.cli.display import Bar, Show
from phoundry.cli.screen import visible

MARK = "▸"  # before the line of what runs; the spinner says that here
TEXTS = 56  # columns that the other texts of a line with a bar take
SHORTEST, LONGEST = 8, 40


class _BarIfAny(BarColumn):
    """Nothing for a task of which nobody knows how long it is."""

    def render(self, task: Task) -> RenderableType:  # type: ignore[override]
        return Text("") if task.total is None else super().render(task)


class _Display(Progress):
    """One task, and a second line that is cut where the terminal ends."""

    detail = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.detail:
            yield Text(f"  {self.detail}", no_wrap=True, overflow="ellipsis")


@contextmanager
def live() -> Generator[Show]:
    """Yield what `cli.display.displayed` promises, for a terminal."""
    console = Console(stderr=True, highlight=False)
    width = min(LONGEST, max(SHORTEST, console.width - TEXTS))
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        _BarIfAny(bar_width=width),
        TextColumn("{task.fields[aside]}", markup=False),
        TimeElapsedColumn(),
    )
    with _Display(*columns, console=console, transient=True) as display:
        task = display.add_task("…", total=None, aside="")
        subject: str | None = None

        def show(line: str, about: str | None, bar: Bar | None = None) -> None:
            nonlocal subject
            if about is None:
                console.print(visible(line), markup=False)
                return
            if about != subject:
                # The time shown is that of the step, not of the whole.
                display.reset(task, total=None)
                subject = about
            text = bar.title if bar else visible(line).removeprefix(MARK).strip()
            display.detail = visible(bar.detail) if bar else ""
            display.update(
                task,
                description=text,
                total=1.0 if bar else None,
                completed=bar.share if bar else 0.0,
                aside=bar.aside if bar else "",
            )

        yield show
