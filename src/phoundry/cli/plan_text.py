"""A plan as people read it."""

from __future__ import annotations

from typing import Any

from phoundry.cli.output import cell, duration
from phoundry.specs.plan import Change, Forecast, Plan, PlanItem

MARKS = {"create": "+", "change": "~", "resume": "↻", "follow": "▸", "nothing": "="}
WORDS = {
    "create": "to create",
    "change": "to change",
    "resume": "to go on with",
    "follow": "under way",
    "nothing": "as declared",
}


def plan_text(plan: Plan) -> str:
    """One line a resource, its changes and the training's forecast under it, and a sum."""
    kinds = max((len(item.kind) for item in plan.items), default=0)
    lines: list[str] = []
    for item in plan.items:
        lines.append(_line(item, kinds))
        lines += [f"    {' ' * kinds}  {change_text(change)}" for change in item.changes]
        if item.forecast:
            lines += [f"    {' ' * kinds}  {text}" for text in forecast_lines(item.forecast)]
    return "\n".join([*lines, "", summary(plan)])


def _line(item: PlanItem, kinds: int) -> str:
    why = item.reason
    if item.waits_for:
        why = "; ".join(part for part in (why, f"after {', '.join(item.waits_for)}") if part)
    words = f"  {MARKS[item.action]} {item.kind.ljust(kinds)}  {item.name}"
    return f"{words}  ({why})" if why else words


def change_text(change: Change) -> str:
    """`learning_rate: 0.0005 → 0.001`; of a secret its name alone."""
    if change.old is None and change.new is None:
        return f"{change.field} changes"
    return f"{change.field}: {_shown(change.old)} → {_shown(change.new)}"


def _shown(value: Any) -> str:
    return "-" if value in (None, "", [], {}) else cell(value)


def forecast_lines(found: Forecast) -> list[str]:
    """Tokens and steps; memory and whether it fits; time."""
    lines: list[str] = []
    if found.tokens is not None:
        about = "about " if found.about else ""
        epochs = f"{found.epochs:g} epoch{'' if found.epochs == 1 else 's'}"
        lines.append(f"{about}{found.tokens:,} tokens × {epochs}, {about}{found.steps:,} steps")
    if found.memory_bytes is not None and found.available_bytes is not None:
        fits = "fits" if found.fits else "does not fit"
        free = f"{found.available_bytes / 1e9:.1f} GB can be had"
        lines.append(f"about {found.memory_bytes / 1e9:.1f} GB of memory: {fits} ({free})")
    if found.seconds is not None:
        speed = f"{found.tokens_per_second:,.0f} tokens/s, {found.basis}"
        lines.append(f"about {duration(found.seconds)} ({speed})")
    else:
        lines.append("time unknown: no training of this model has ended on this machine yet")
    return lines


def summary(plan: Plan) -> str:
    """`4 to create, 1 to change, 2 as declared.`"""
    counts = dict.fromkeys(WORDS, 0)
    for item in plan.items:
        counts[item.action] += 1
    return ", ".join(f"{count} {WORDS[name]}" for name, count in counts.items() if count) + "."
