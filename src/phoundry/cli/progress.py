"""Following a job or a journey: a live display in a terminal, lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from phoundry.cli.output import Printer, cell, duration, sheet
from phoundry.cli.screen import visible
from phoundry.errors import PhoundryError, WorkerFailed, from_dict
from phoundry.settings import Settings

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.specs.base import Preparation
    from phoundry.specs.job import Job, Progress
    from phoundry.specs.journey import Journey, Step

MARKS = {"waiting": "·", "running": "▸", "done": "✓", "failed": "✗"}
LINE_SECONDS = 10.0  # between two lines about the same thing where nothing can be redrawn
# A line, and what a passing line is about (None: the line is final).
Show = Callable[[str, str | None], None]


def job_detail(job: Job) -> str:
    """Where a job is, in one line."""
    if job.preparation:
        return job.preparation.words()
    return progress_detail(job.progress) if job.progress.max_steps else ""


def prepared(doing: str, preparation: Preparation | None) -> str:
    """`Deploying: Converting to GGUF Q8_0`"""
    return f"{doing}: {preparation.words()}" if preparation else doing


def progress_detail(progress: Progress) -> str:
    """`step 40/120, loss 1.83, validation 1.91, 310 tokens/s, 1 min 20 s left`"""
    parts = [f"step {progress.step}/{progress.max_steps}"]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.eval_loss is not None:
        parts.append(f"validation {progress.eval_loss:.3f}")
    if progress.tokens_per_second:
        parts.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.seconds_left is not None and progress.step < progress.max_steps:
        parts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(parts)


def job_fields(job: Job, *, whole: bool) -> dict[str, Any]:
    """A job for a sheet: parameters with where each came from, those of the user, the model and
    the machine only, unless `whole`."""
    fields = job.model_dump(mode="json")
    sources: dict[str, str] = fields.pop("sources")
    fields["parameters"] = {
        name: f"{cell(value)}  ({sources[name]})" if name in sources else value
        for name, value in fields["parameters"].items()
        if whole or sources.get(name) != "default"
    }
    if not whole:
        del fields["events"]
    return fields


def follow_job(client: Client, job: Job, out: Printer) -> Job:
    """Show a job's progress until it ends, and print it.

    Raises:
        PhoundryError: the job's own failure.
        typer.Exit: 130 after Ctrl-C, which leaves the job running; 1 if it was canceled.
    """
    name = job.name
    out.note(f"Job {name} trains {job.model} on {job.training_data}. Ctrl-C leaves it running.")
    for notice in job.notices:
        out.note(f"Note: {notice}")
    try:
        with displayed(out) as show:
            job = client.jobs.wait(
                name,
                lambda job: show(f"{job.status:<10} {job_detail(job)}".rstrip(), job.status),
            )
    except KeyboardInterrupt:
        out.note(
            f"\nJob {name} goes on. Follow it: phoundry job logs {name} -f\n"
            f"              Cancel it: phoundry job cancel {name}"
        )
        raise typer.Exit(130) from None
    if job.status == "Failed":
        raise failure_of(job)
    out.value(job.model_dump(mode="json"), text=sheet(job_fields(job, whole=False)))
    if job.status == "Canceled":
        raise typer.Exit(1)
    out.suggest(f"phoundry model register NAME --job {name}")
    return job


def failure_of(job: Job) -> PhoundryError:
    """The error that a failed job left, with where to look further."""
    if job.error:
        return from_dict(job.error)
    return WorkerFailed(f"Job {job.name} failed.", remedy=f"See `phoundry job logs {job.name}`.")


def follow_journey(client: Client, name: str, out: Printer) -> Journey:
    """Show a journey's steps until it is done.

    Raises:
        PhoundryError: the failure of the step that failed.
        typer.Exit: 130 after Ctrl-C, which leaves the journey going.
    """
    from phoundry.client.waiting import wait_for

    def look() -> tuple[Journey, Job | None]:
        journey = client.journeys.show(name)
        training = next((s for s in journey.steps if s.name == "train" and s.reference), None)
        job = None
        if training and training.reference and training.state == "running":
            job = client.jobs.show(training.reference)
        return journey, job

    try:
        with displayed(out) as show:
            told: set[str] = set()

            def tell(current: tuple[Journey, Job | None]) -> None:
                for line, about in step_lines(*current, told):
                    show(line, about)

            journey, _ = wait_for(
                look,
                lambda current: current[0].state != "running",
                on_change=tell,
                alive=client.transport.running,
                what=f"The journey '{name}'",
            )
    except KeyboardInterrupt:
        out.note("\nThe journey goes on. The same command follows it again.")
        raise typer.Exit(130) from None
    if journey.state == "failed":
        if journey.error:
            raise from_dict(journey.error)
        raise WorkerFailed(f"The journey '{name}' failed.", remedy="Run the same command again.")
    return journey


def step_lines(
    journey: Journey, job: Job | None, told: set[str]
) -> Generator[tuple[str, str | None]]:
    """Lines about the steps that have ended since (`told` remembers), then the one that runs.

    Yields the line, and the step that a passing line is about.
    """
    for step in journey.steps:
        if step.state in ("done", "failed") and step.name not in told:
            told.add(step.name)
            yield _step_line(step, step.message or cell(step.reference or "")), None
    for step in journey.steps:
        if step.state == "running":
            yield _step_line(step, job_detail(job) if job else step.message), step.name


def _step_line(step: Step, detail: str) -> str:
    took = ""
    if step.started_at and step.finished_at:
        took = f"  ({duration((step.finished_at - step.started_at).total_seconds())})"
    return f"{MARKS[step.state]} {step.title}" + (f": {detail}" if detail else "") + took


@contextmanager
def displayed(out: Printer) -> Generator[Show]:
    """Yield `show(line, about)`: a final line stays, a passing one is replaced by the next.

    Where standard error is no terminal, a passing line is printed when what it is about changes,
    and otherwise every few seconds.
    """
    if not out.talks:
        yield lambda line, about: None
    elif Settings().lively(terminal=sys.stderr.isatty()):
        with _live() as show:
            yield show
    else:
        yield _lines(out)


@contextmanager
def _live() -> Generator[Show]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("…")
        subject: str | None = None

        def show(line: str, about: str | None) -> None:
            nonlocal subject
            if about is None:
                console.print(visible(line), markup=False)
                return
            if about != subject:
                progress.reset(task)  # the time shown is that of the step, not of the whole
                subject = about
            text = visible(line).removeprefix(MARKS["running"]).strip()
            progress.update(task, description=escape(text))

        yield show


def _lines(out: Printer) -> Show:
    subject: str | None = None
    told = 0.0

    def show(line: str, about: str | None) -> None:
        nonlocal subject, told
        now = time.monotonic()
        if about is None or about != subject or now - told >= LINE_SECONDS:
            subject, told = about, now
            out.note(line)

    return show
