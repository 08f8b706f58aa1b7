"""Walking a journey: every tick tries the first step that is not done."""

from __future__ import annotations

import logging

from phoundry.errors import PhoundryError
from phoundry.journey import steps as walk
from phoundry.services import journeys
from phoundry.services.context import Context
from phoundry.services.trouble import explained
from phoundry.specs.base import now
from phoundry.specs.journey import Journey, JourneySpec, Step

log = logging.getLogger("phoundry.journey")


def start(context: Context, spec: JourneySpec) -> Journey:
    """Begin a journey, or go on with it. What failed or was stopped gets another chance."""
    waiting = [
        Step(name=name, state="waiting", title=title)
        for name, (title, _) in walk.steps_of(spec).items()
    ]
    present = journeys.present(context, spec.name)
    if present and present[1].state == "running" and present[0].stored() != spec.stored():
        raise journeys.under_way(spec.name)  # before anything of it is tried anew
    walk.retry(context, spec)
    return journeys.start(context, spec, waiting)


def tick(context: Context) -> None:
    """Move every running journey on. One that fails, for whatever reason, stops no other."""
    for spec, steps in journeys.running(context):
        before = [step.model_copy() for step in steps]
        failure: PhoundryError | None = None
        try:
            _advance(context, spec, steps)
        except PhoundryError as error:
            failure = error
        except Exception as error:
            log.exception("journey '%s' could not be moved on", spec.name)
            failure = explained(error, context.home)
        if failure:
            _stop(steps, failure)
        if failure or steps != before:
            journeys.update(context, spec, before, steps, error=failure)


def _stop(steps: list[Step], failure: PhoundryError) -> None:
    for step in steps:
        if step.state == "running":
            step.state, step.message, step.finished_at = "failed", failure.message, now()


def _advance(context: Context, spec: JourneySpec, steps: list[Step]) -> None:
    for step in steps:
        if step.state == "done":
            continue
        if step.state != "running":
            step.state, step.started_at = "running", now()
        progress = walk.STEPS[step.name][1](context, spec)
        step.reference, step.message = progress.reference, progress.message
        if not progress.done:
            return
        step.state, step.finished_at = "done", now()
