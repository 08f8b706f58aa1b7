"""Batch runs for people to read: how far one is, how it ended, its lines, several side by side."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from phoundry.cli.display import Bar, displayed
from phoundry.cli.output import Printer, cell, duration, sheet, table
from phoundry.cli.screen import echo

if TYPE_CHECKING:
    from collections.abc import Callable

    from phoundry.client import Client
    from phoundry.flows.batch.engine import Progress
    from phoundry.specs.flow_run import FlowRun

WIDEST = 40  # characters of a cell
REASONS = 3  # different reasons of failures that are told


@contextmanager
def followed(
    out: Printer, doing: str, name: str | None = None
) -> Generator[Callable[[Progress], None]]:
    """Yield what is told of a run's progress. Ctrl-C ends with 130 and says how to go on."""
    began: list[str] = [name] if name else []
    try:
        with displayed(out) as show:

            def tell(progress: Progress) -> None:
                if progress.left < progress.total:  # else nothing is left of it
                    began[:] = [progress.run]
                words = progress_words(progress)
                share = (progress.total - progress.left) / max(1, progress.total)
                show(f"{doing}: {words}", doing, Bar(doing, share, words))

            yield tell
    except KeyboardInterrupt:
        if began:
            out.note("\nWhat has ended is kept.")
            out.suggest(f"phoundry run resume {began[0]}")
        raise typer.Exit(130) from None


def progress_words(progress: Progress) -> str:
    """`1,200/5,000 lines, 3 failed, 480 lines/s, 8 s left`"""
    done = progress.total - progress.left
    parts = [f"{done:,}/{progress.total:,} lines"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.done and progress.seconds > 0:
        rate = progress.done / progress.seconds
        parts.append(f"{rate:,.0f} lines/s" if rate >= 10 else f"{rate:.2g} lines/s")
    if progress.left and progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(parts)


def lines_told(run: FlowRun) -> str:
    """`1,000`, or `997/1,000, 3 failed`."""
    lines = run.lines
    text = f"{lines.total:,}"
    if lines.completed < lines.total:
        text = f"{lines.completed:,}/{text}"
    return f"{text}, {lines.failed:,} failed" if lines.failed else text


def print_run(out: Printer, client: Client, run: FlowRun, *, stream: bool = False) -> None:
    """The run as it ended.

    Raises:
        typer.Exit: 1 where lines or the aggregation failed.
    """
    if stream and out.talks:
        from pathlib import Path

        log = Path(run.output) / "logs.txt"
        echo(log.read_text(encoding="utf-8", errors="replace"), nl=False, err=True)
    fields = run.model_dump(mode="json")
    shown = {
        "name": run.name,
        "status": run.status,
        "lines": lines_told(run),
        "seconds": round(run.seconds, 2),
        "metrics": run.metrics,
        "output": run.output,
    }
    out.value(fields, text=sheet(shown))
    for notice in run.notices:
        out.note(notice)
    if not run.failed:
        out.suggest(f"phoundry run show-details {run.name}", f"phoundry run visualize {run.name}")
        return
    if run.lines.failed:
        out.note(f"{run.lines.failed:,} of {run.lines.total:,} lines failed:")
        for reason, lines in _reasons(client, run).items():
            out.note(f"  {len(lines):,}× {reason} (line {lines[0]})")
    if run.aggregation_error:
        out.note(f"The aggregation failed: {run.aggregation_error.get('message')}")
    out.suggest(f"phoundry run show-details {run.name} --failed", f"phoundry run retry {run.name}")
    raise typer.Exit(1)


def _reasons(client: Client, run: FlowRun) -> dict[str, list[int]]:
    """Why lines failed, the most frequent first, with the numbers of the lines."""
    found: dict[str, list[int]] = {}
    for line in client.runs.details(run.name, limit=1000, failed=True):
        error: dict[str, Any] = line["error"] or {}
        found.setdefault(_short(error.get("message") or "", 160), []).append(line["line_number"])
    first = sorted(found.items(), key=lambda item: -len(item[1]))[:REASONS]
    return dict(first)


def print_details(out: Printer, lines: Sequence[Mapping[str, Any]]) -> None:
    """A row a line; whole values with -o json."""
    if not out.talks:
        out.value([dict(line) for line in lines])
        return
    if not lines:
        out.note("There is no such line.")
        return
    inputs = list(dict.fromkeys(name for line in lines for name in line["inputs"]))
    outputs = list(dict.fromkeys(name for line in lines for name in line["outputs"]))
    titles = ["line", "status", *(f"inputs.{name}" for name in inputs)]
    titles += [*(f"outputs.{name}" for name in outputs), "seconds"]
    failed = any(line["error"] for line in lines)
    rows = [
        [
            str(line["line_number"]),
            str(line["status"]),
            *(_short(cell(line["inputs"].get(name))) for name in inputs),
            *(_short(cell(line["outputs"].get(name))) for name in outputs),
            cell(line["seconds"]),
            *([_short(cell((line["error"] or {}).get("message")), 100)] if failed else []),
        ]
        for line in lines
    ]
    echo(table([*titles, "error"] if failed else titles, rows))


def print_comparison(out: Printer, runs: Sequence[FlowRun]) -> None:
    """A row a fact, a column a run."""
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics))
    if not out.talks:
        out.value([run.model_dump(mode="json") for run in runs])
        return
    rows = [
        ["status", *(run.status for run in runs)],
        ["lines", *(lines_told(run) for run in runs)],
        ["seconds", *(cell(round(run.seconds, 2)) for run in runs)],
        ["variant", *(cell(run.variant) for run in runs)],
        *([name, *(cell(run.metrics.get(name)) for run in runs)] for name in metrics),
    ]
    first = runs[0].metrics
    for name in metrics:
        before = first.get(name)
        changes = [_change(before, run.metrics.get(name)) for run in runs]
        if len(runs) > 1 and any(changes):
            rows.append([f"{name} (change)", *changes])
    echo(table(["", *(run.name for run in runs)], rows))


def _change(before: Any, after: Any) -> str:
    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return ""
    return f"{after - before:+.4g}" if after != before else ""


def _short(text: str, widest: int = WIDEST) -> str:
    line = " ".join(text.split())
    return line if len(line) <= widest else line[: widest - 1] + "…"
