"""What a run says of itself beside its progress: the table at its start, and its evaluations."""

from __future__ import annotations

from collections.abc import Mapping

from phoundry.specs.finetune import FineTuneParameters
from phoundry.specs.job import Choice
from phoundry.training.evaluation.evaluator import Evaluation
from phoundry.training.evaluation.stopping import Standing
from phoundry.training.planning.advice import advice, without_evaluation
from phoundry.training.planning.plan import Plan
from phoundry.training.spec import Reporter

# Of a sample's texts, so many characters stand in the log; the event has them whole.
SAMPLE_CHARACTERS = 200
WORTH_TELLING = 0.01


def parameter_table(parameters: FineTuneParameters, sources: Mapping[str, str]) -> str:
    """Every resolved parameter with where it came from, aligned."""
    rows = [(name, str(value), sources.get(name, "")) for name, value in parameters]
    name_width, value_width = (max(len(row[i]) for row in rows) for i in (0, 1))
    return "\n".join(f"{n:<{name_width}}  {v:<{value_width}}  {s}".rstrip() for n, v, s in rows)


def choice_line(choice: Choice) -> str:
    """`row_tokens = 1024: 410 tokens/s (512: 380, 1024: 410, 2048: 395)`"""
    measured = ", ".join(f"{value}: {rate:.0f} tok/s" for value, rate in choice.measured.items())
    parts = [choice.why, f"({measured})" if measured else ""]
    return f"{choice.name} = {choice.value}: {' '.join(filter(None, parts))}".rstrip(": ")


def notice(reporter: Reporter, message: str) -> None:
    """Something a user should know, as an event and as a line."""
    reporter.event("notice", message=message)
    reporter.line(message)


def announce(reporter: Reporter, plan: Plan, *, step: int, trained: int, threads: int) -> None:
    """Say what will be done, before anything is: parameters, choices, data."""
    reporter.line(parameter_table(plan.parameters, plan.sources))
    for choice in plan.choices.entries:
        reporter.event("choice", **choice.model_dump())
        reporter.line(choice_line(choice))
    if step:
        notice(reporter, f"Going on from the checkpoint of step {step}.")
    else:
        held_out = plan.validation.notices if plan.validation is not None else []
        told = [*plan.samples.notices, *(f"Held out: {each}" for each in held_out)]
        for message in [*told, *advice(plan.draft)]:
            notice(reporter, message)
    for message in without_evaluation(plan.draft):
        reporter.line(message)
    samples = plan.samples
    spared = 1 - plan.draft.computed_share
    if spared >= WORTH_TELLING:
        reporter.line(
            f"Conversations begin alike, and what is alike is computed once a row: {spared:.0%} of "
            "the tokens less."
        )
    reporter.event(
        "started",
        max_steps=plan.max_steps,
        parameters_trained=trained,
        tokens_per_epoch=samples.tokens,
        truncated=samples.truncated,
        dropped=samples.dropped,
    )
    reporter.line(
        f"{len(samples)} conversations, {samples.tokens} tokens an epoch, "
        f"{samples.truncated} truncated, {samples.dropped} dropped; "
        f"{plan.max_steps} steps, {trained:,} weights trained, {threads} threads"
    )


def tell_evaluation(
    reporter: Reporter, found: Evaluation, *, step: int, epoch: float, best: bool
) -> None:
    """`evaluated`, and a `sample` for each answer that is shown."""
    reporter.event("evaluated", step=step, epoch=epoch, **found.metrics(), best=best)
    scores = "".join(
        f"  {name} {value:.3f}"
        for name, value in (("f1", found.f1), ("exact", found.exact))
        if value is not None
    )
    reporter.line(
        f"step {step}  epoch {epoch:.2f}  validation loss {found.loss:.4f}  "
        f"token accuracy {found.token_accuracy:.1%}{scores}{'  best so far' if best else ''}"
    )
    for sample in found.samples:
        reporter.event("sample", **sample.model_dump())
        reporter.line(f"  asked: {_short(sample.prompt)}")
        reporter.line(f"    says: {_short(sample.answer)}")
        reporter.line(f"    wanted: {_short(sample.reference)}")


def tell_stopped_early(
    reporter: Reporter, standing: Standing, parameters: FineTuneParameters, step: int
) -> None:
    """`stopped_early`, with why."""
    best = (
        f"The best was {standing.best_metric:.4f} at step {standing.best_step}."
        if standing.best_metric is not None
        else "No evaluation gave a number: the training diverged; lower learning_rate."
    )
    threshold = parameters.early_stopping_threshold
    better = f"better by more than {threshold:g}" if threshold else "better"
    message = (
        f"Stopped early at step {step}: {standing.waited} evaluation(s) in a row with no {better} "
        f"{parameters.metric_for_best_model}. {best}"
    )
    reporter.event("stopped_early", step=step, best_step=standing.best_step, message=message)
    reporter.line(message)


def _short(text: str) -> str:
    line = " ".join(text.split())
    if len(line) <= SAMPLE_CHARACTERS:
        return line
    return f"{line[:SAMPLE_CHARACTERS]}…"
