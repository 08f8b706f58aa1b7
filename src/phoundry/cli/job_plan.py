"""What a fine-tune will take, as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from phoundry.cli.display import displayed
from phoundry.cli.output import Printer, cell, duration, sheet
from phoundry.cli.progress import choice_text
from phoundry.files import in_words

if TYPE_CHECKING:
    from phoundry.client import Client
    from phoundry.specs.job import FineTuningJobSpec, JobPlan, Planning


def print_plan(client: Client, out: Printer, spec: FineTuningJobSpec, then: str) -> None:
    """Work out what the job of `spec` would take, and print it. `then`: the command to start it.

    Raises:
        typer.Exit: 1 where it does not fit, after what would.
    """

    def tell(planning: Planning) -> None:
        if planning.preparation:
            show(f"▸ {planning.preparation.words()}", planning.preparation.message)

    with displayed(out) as show:
        show("▸ Checking", "checking")
        plan = client.jobs.plan(spec, tell)
    out.value(plan.model_dump(mode="json"), text=plan_sheet(plan))
    for notice in plan.notices:
        out.note(f"Note: {notice}")
    if not plan.fits:
        raise typer.Exit(1)
    out.suggest(then)


def plan_sheet(plan: JobPlan) -> str:
    """Lines of `name  value`; what is not known is left out."""
    fields: dict[str, Any] = {
        "model": plan.model,
        "training data": plan.training_data,
        "conversations": _conversations(plan),
        "tokens": f"{plan.tokens_per_epoch:,} an epoch, {plan.supervised_tokens_per_epoch:,} "
        f"of them learnt; {plan.tokens:,} in all",
        "steps": f"{plan.steps:,} ({_epochs(plan.epochs)})",
        "time": _time(plan),
        "memory": _share(plan.memory_bytes, plan.available_bytes, "can be had"),
        "disk": _share(plan.disk_bytes, plan.free_disk_bytes, "are free"),
        "chosen": [choice_text(choice) for choice in plan.choices],
        "parameters": {
            name: f"{cell(value)}  ({plan.sources[name]})"
            for name, value in plan.parameters.items()
            if plan.sources.get(name, "default") != "default"
        },
    }
    lines = [sheet(fields), "", "It fits." if plan.fits else "It does not fit."]
    if not plan.fits and plan.would_fit:
        lines += ["This would:", *(f"  {each}" for each in plan.would_fit)]
    return "\n".join(lines)


def _conversations(plan: JobPlan) -> str:
    shortened = f"{plan.truncated:,} cut to the length allowed" if plan.truncated else ""
    dropped = f"{plan.dropped:,} left out, too long" if plan.dropped else ""
    lost = ", ".join(part for part in (shortened, dropped) if part) or "all of them whole"
    return f"{plan.conversations:,}; {lost}"


def _epochs(count: float) -> str:
    return f"{count:g} epoch{'' if count == 1 else 's'}"


def _time(plan: JobPlan) -> str | None:
    if plan.seconds is None:
        return None
    speed = f"{plan.tokens_per_second:,.0f} tokens/s" if plan.tokens_per_second else ""
    used = f"{plan.mfu:.0%} of what the machine can" if plan.mfu else ""
    how = ", ".join(part for part in (speed, used) if part)
    return f"about {duration(plan.seconds)}" + (f" ({how})" if how else "")


def _share(needed: int | None, there: int | None, of: str) -> str | None:
    if needed is None:
        return None
    about = f"about {in_words(needed)}"
    return about if there is None else f"{about}; {in_words(there)} {of}"
