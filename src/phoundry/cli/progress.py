"""Following a job or a journey until it ends."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import typer

from phoundry.cli.display import Bar, displayed
from phoundry.cli.output import Printer, cell, duration, sheet
from phoundry.errors import PhoundryError, WorkerFailed, from_dict

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.specs.base import Preparation
    from phoundry.specs.job import Choice, Job, Progress
    from phoundry.specs.journey import Journey, Step

MARKS = {"waiting": "·", "running": "▸", "done": "✓", "failed": "✗"}


def job_detail(job: Job) -> str:
    """Where a job is, in one line."""
    if job.preparation:
        return job.preparation.words()
    return progress_detail(job.progress) if job.progress.max_steps else ""


def prepared(doing: str, preparation: Preparation | None) -> str:
    """`Deploying: Converting to GGUF Q8_0`"""
    return f"{doing}: {preparation.words()}" if preparation else doing


def progress_detail(progress: Progress) -> str:
    """`step 40/120, loss 1.830, validation 1.910, 310 tokens/s, MFU 45 %, 1 min 20 s left`"""
    parts = [f"{progress.unit} {progress.step}/{progress.max_steps}", *_measured(progress)]
    return ", ".join([*parts, *_left(progress)])


def _measured(progress: Progress) -> Generator[str]:
    if progress.failed:
        yield f"{progress.failed:,} errors"
    if progress.loss is not None:
        yield f"loss {progress.loss:.3f}"
    if progress.eval_loss is not None:
        yield f"validation {progress.eval_loss:.3f}"
    if progress.tokens_per_second:
        yield f"{progress.tokens_per_second:,.0f} tokens/s"
    if progress.mfu is not None:
        yield f"MFU {progress.mfu:.0%}".replace("%", " %")


def _left(progress: Progress) -> Generator[str]:
    if progress.seconds_left is not None and progress.step < progress.max_steps:
        yield f"{duration(progress.seconds_left)} left"


def job_bar(job: Job, title: str) -> Bar | None:
    """Where a job is that trains, as a bar for a terminal; None while it does not train yet."""
    progress = job.progress
    if job.preparation or not progress.max_steps:
        return None
    share = min(1.0, progress.step / progress.max_steps)
    said = [
        f"{share:.0%}".replace("%", " %"),
        f"{progress.unit} {progress.step}/{progress.max_steps}",
    ]
    detail = list(_measured(progress))
    if progress.best_step is not None and progress.best_step < progress.step:
        detail.append(f"best at step {progress.best_step}")
    return Bar(title, share, "  ".join([*said, *_left(progress)]), ", ".join(detail))


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
    fields["choices"] = [choice_text(choice) for choice in job.choices]
    if not whole:
        del fields["events"]
    return fields


def choice_text(choice: Choice) -> str:
    """`precision = 16: it is faster (16: 310, 32: 190 tokens/s)`"""
    text = f"{choice.name} = {choice.value}"
    if choice.why:
        text += f": {choice.why}"
    if choice.measured:
        rates = ", ".join(f"{name}: {rate:,.0f}" for name, rate in choice.measured.items())
        text += f" ({rates} tokens/s)"
    return text


def follow_job(client: Client, job: Job, out: Printer) -> Job:
    """Show a job's progress until it ends or is paused, and print it.

    Raises:
        PhoundryError: the job's own failure.
        typer.Exit: 130 after Ctrl-C, which leaves the job running; 1 if it was canceled or paused.
    """
    name = job.name
    does = f"trains {job.model} on {job.training_data}"
    if job.type == "batch":
        does = f"asks {job.model} what {job.input} holds"
    out.note(f"Job {name} {does}. Ctrl-C leaves it running.")
    told = 0

    def tell(job: Job) -> None:
        nonlocal told
        for notice in job.notices[told:]:
            show(f"Note: {notice}", None)
        told = max(told, len(job.notices))
        line = f"{job.status:<10} {job_detail(job)}".rstrip()
        show(line, job.status, job_bar(job, job.status))

    try:
        with displayed(out) as show:
            job = client.jobs.wait(name, tell)
    except KeyboardInterrupt:
        out.note(
            f"\nJob {name} goes on. Follow it: phoundry job logs {name} -f\n"
            f"              Pause it:  phoundry job pause {name}\n"
            f"              Cancel it: phoundry job cancel {name}"
        )
        raise typer.Exit(130) from None
    if job.status != "Failed":
        out.value(job.model_dump(mode="json"), text=sheet(job_fields(job, whole=False)))
    ended(job, out)
    return job


def ended(job: Job, out: Printer) -> None:
    """Say what comes after a job that rests.

    Raises:
        PhoundryError: the job's own failure.
        typer.Exit: 1 if it was canceled or paused: what should come after it must not begin.
    """
    if job.status == "Failed":
        raise failure_of(job)
    if job.status == "Completed":
        after = f"phoundry model register NAME --job {job.name}"
        if job.type == "batch":
            after = f"phoundry job download {job.name}"
        out.suggest(after, f"phoundry job show {job.name}")
        return
    out.note(f"Job {job.name} is {job.status}.")
    out.suggest(f"phoundry job resume {job.name}")
    raise typer.Exit(1)


def failure_of(job: Job) -> PhoundryError:
    """The error that a failed job left, with where to look further."""
    if job.error:
        return from_dict(job.error)
    return WorkerFailed(f"Job {job.name} failed.", remedy=f"See `phoundry job logs {job.name}`.")


def follow_journey(client: Client, name: str, out: Printer) -> Journey:
    """Show a journey's steps until it is done, or until its training is paused.

    Raises:
        PhoundryError: the failure of the step that failed.
        typer.Exit: 130 after Ctrl-C, which leaves the journey going; 1 if its training is paused.
    """
    from phoundry.client.waiting import RESTART_SECONDS, wait_for

    def look() -> tuple[Journey, Job | None]:
        journey = client.journeys.show(name)
        training = next((s for s in journey.steps if s.name == "train" and s.reference), None)
        job = None
        if training and training.reference and training.state == "running":
            job = client.jobs.show(training.reference)
        return journey, job

    told: set[str] = set()

    def tell(current: tuple[Journey, Job | None]) -> None:
        journey, job = current
        for line, about in step_lines(journey, job, told):
            title = next((step.title for step in journey.steps if step.name == about), "")
            show(line, about, job_bar(job, title) if job and about == "train" else None)

    try:
        with displayed(out) as show:
            journey, job = wait_for(
                look,
                lambda current: current[0].state != "running" or _paused(current[1]),
                on_change=tell,
                alive=client.transport.running,
                patience=RESTART_SECONDS,
                what=f"The journey '{name}'",
            )
    except KeyboardInterrupt:
        out.note("\nThe journey goes on. The same command follows it again.")
        raise typer.Exit(130) from None
    if journey.state == "failed":
        if journey.error:
            raise from_dict(journey.error)
        raise WorkerFailed(f"The journey '{name}' failed.", remedy="Run the same command again.")
    if job and _paused(job):
        out.note(f"The training is paused at {progress_detail(job.progress)}.")
        out.suggest(f"phoundry job resume {job.name}")
        raise typer.Exit(1)
    return journey


def _paused(job: Job | None) -> bool:
    return job is not None and job.status == "Paused"


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
            detail = job_detail(job) if job and not _paused(job) else step.message
            yield _step_line(step, detail), step.name


def _step_line(step: Step, detail: str) -> str:
    took = ""
    if step.started_at and step.finished_at:
        took = f"  ({duration((step.finished_at - step.started_at).total_seconds())})"
    return f"{MARKS[step.state]} {step.title}" + (f": {detail}" if detail else "") + took
