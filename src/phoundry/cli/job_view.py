"""What `phoundry job show` shows below a job's fields: its loss curve and its newest answers."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from phoundry.cli.curve import BRAILLE, Style, chart, style_for
from phoundry.cli.screen import visible

if TYPE_CHECKING:
    from phoundry.specs.job import MetricPoint, SampleGeneration

WIDEST = 100  # columns: a wider curve is no clearer
SHOWN_SAMPLES = 3


def job_picture(
    points: Sequence[MetricPoint], samples: Sequence[SampleGeneration], best_step: int | None
) -> str:
    """The curve and the answers, as wide as the terminal; empty where there is nothing to show."""
    width = min(WIDEST, shutil.get_terminal_size().columns)
    style = style_for(sys.stdout.encoding)
    parts = [
        curve(points, best_step, width=width, style=style),
        answers(samples, width=width, cut="…" if style is BRAILLE else "..."),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def curve(
    points: Sequence[MetricPoint], best_step: int | None, *, width: int, style: Style
) -> list[str]:
    """The losses; the best evaluation is `best_step`, or else the one of the lowest loss."""
    training = [(point.step, point.loss) for point in points if point.loss is not None]
    validation = [(p.step, p.eval_loss) for p in points if p.eval_loss is not None]
    if best_step is None and len(validation) > 1:
        best_step = min(validation, key=lambda point: point[1])[0]
    return chart(training, validation, best_step=best_step, width=width, style=style)


def answers(samples: Sequence[SampleGeneration], *, width: int, cut: str = "…") -> list[str]:
    """Question, answer and what the data say, a line each, cut where the terminal ends."""
    if not samples:
        return []
    lines = [f"What it answered at step {samples[-1].step}"]
    for sample in samples[:SHOWN_SAMPLES]:
        texts = {"asked": sample.prompt, "said": sample.answer, "the data": sample.reference}
        lines += [_short(f"  {name:<8}  {text}", width, cut) for name, text in texts.items()]
        lines.append("")
    return lines[:-1]


def _short(line: str, width: int, cut: str) -> str:
    """On one line, of at most `width` characters. What controls a terminal is shown, not obeyed."""
    name, text = line[:12], " ".join(visible(line[12:]).split())
    whole = name + text
    return whole if len(whole) <= width else whole[: max(0, width - len(cut))].rstrip() + cut
