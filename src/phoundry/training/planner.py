"""The worker that plans: `python -m phoundry.training.planner RUN_DIR`.

Its spec.json is that of the worker that trains. Nothing is trained: the data are rendered (and stay
in the cache), a few steps are timed, and the result is what the run will take.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.errors import InsufficientResources
from phoundry.settings import Settings
from phoundry.specs.job import JobPlan
from phoundry.spool import Spool
from phoundry.training import machine
from phoundry.training.planning.remedies import Needs, what_would_fit
from phoundry.training.spec import TrainingSpec
from phoundry.worker import main

if TYPE_CHECKING:
    import torch

    from phoundry.training.planning.draft import Draft
    from phoundry.training.planning.plan import Plan


def run(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """The task of a planning worker: `{"plan": JobPlan as JSON}`, fitting or not.

    Raises:
        NotFound, InvalidInput: the checkpoint or the data can't be used.
    """
    machine.keep_freed_memory()

    def say(text: str) -> None:
        spool.append("notice", message=text)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    limit = Settings().memory_limit
    found = plan_job(TrainingSpec.from_json(spec, run_dir / "output", memory_limit=limit), say)
    return {"plan": found.model_dump(mode="json")}


def plan_job(spec: TrainingSpec, say: Callable[[str], None] | None = None) -> JobPlan:
    """What the fine-tune of `spec` will take. One that does not fit is told so, not refused."""
    from phoundry.training.planning.choose import choose, memory_to_plan_with
    from phoundry.training.planning.draft import make_draft
    from phoundry.training.planning.plan import settle

    draft = make_draft(spec, say)
    view = _of_data(spec, draft)
    view.available_bytes = memory_to_plan_with(spec)
    try:
        choices = choose(spec, draft, say, always=True)
    except InsufficientResources as refusal:
        needs = Needs(draft.shape, draft.parameters, draft.samples.lengths)
        view.fits, view.memory_bytes = False, needs.least()
        view.would_fit = [str(each) for each in what_would_fit(needs, view.available_bytes)]
        view.notices.append(refusal.message)
        return view
    _add_measured(view, settle(spec, draft, choices))
    return view


def _of_data(spec: TrainingSpec, draft: Draft) -> JobPlan:
    from phoundry.training.planning.advice import advice, without_evaluation

    samples = draft.samples
    return JobPlan(
        parameters=draft.parameters.model_dump(mode="json"),
        sources=dict(spec.sources),
        conversations=len(samples),
        truncated=samples.truncated,
        dropped=samples.dropped,
        tokens_per_epoch=samples.tokens,
        supervised_tokens_per_epoch=samples.supervised,
        epochs=round(draft.epochs, 4),
        steps=draft.max_steps,
        tokens=draft.tokens,
        free_disk_bytes=machine.free_disk(spec.output_dir),
        notices=[*samples.notices, *advice(draft), *without_evaluation(draft)],
    )


def _add_measured(view: JobPlan, plan: Plan) -> None:
    from phoundry.training import device
    from phoundry.training.planning.duration import estimate_disk, estimate_duration
    from phoundry.training.planning.matmul import best_rate
    from phoundry.training.progress import share_of

    view.parameters = plan.parameters.model_dump(mode="json")
    view.sources = plan.sources
    view.choices = plan.choices.entries
    view.memory_bytes = plan.memory
    speed = plan.choices.speed
    duration = estimate_duration(plan.draft, plan.parameters, speed) if speed else None
    writes = duration.writes if duration else math.inf
    view.disk_bytes = estimate_disk(plan.draft, plan.parameters, writes)
    if view.free_disk_bytes is not None and view.disk_bytes > view.free_disk_bytes:
        view.fits = False
        fewer = "save_total_limit=1, which keeps fewer checkpoints, or "
        limit = plan.parameters.save_total_limit
        view.would_fit.append(f"{'' if limit == 1 else fewer}a freer disk")
    if speed is None or duration is None:
        return
    view.seconds = duration.seconds
    view.tokens_per_second = plan.tokens / duration.training
    limit = best_rate(_dtype(plan.parameters.precision), device.chosen())
    view.mfu = share_of(view.tokens_per_second * plan.flops_per_token, limit)
    if plan.parameters.apply_early_stopping:
        view.notices.append("Early stopping may end the run before that time.")


def _dtype(precision: str) -> torch.dtype:
    import torch

    return torch.bfloat16 if precision == "16" else torch.float32


if __name__ == "__main__":
    main(run, lean=True)
