"""Choosing precision, row length and recomputing: by memory first, then by a few real steps.

None of the three is the user's business unless they say so: what they set is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from phoundry.specs.finetune import FineTuneParameters
from phoundry.specs.job import Choice
from phoundry.training import device, machine
from phoundry.training.planning.choices import Choices, Precision
from phoundry.training.planning.draft import Draft
from phoundry.training.planning.estimate import USUAL_ROW
from phoundry.training.planning.remedies import SHORTEST_ROW, Needs, too_large
from phoundry.training.spec import TrainingSpec

# Rows that are tried. Shorter ones leave the processor waiting between products, longer ones leave
# its caches; where nothing is measured, the usual one.
ROWS = (512, USUAL_ROW, 2048)
# Floating-point operations of a run from which measuring pays: ten minutes of two cores.
WORTH = 2e14
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What memory and the user leave open. `rows` ascend; `row` is taken if nothing is measured."""

    precisions: tuple[Precision, ...]  # the first is the one that was resolved
    rows: tuple[int, ...]
    row: int
    recompute: bool
    batch: int | None
    available: int


def choose(
    spec: TrainingSpec, draft: Draft, say: Say | None = None, *, always: bool = False
) -> Choices:
    """The choices for a run that starts. `always`: run a few steps even for a short run.

    Raises:
        InsufficientResources: nothing fits; it names what would.
    """
    options = find_options(spec, draft)
    reason = why_not_measured(draft, options)
    if reason and not always:
        return unmeasured(draft, options, reason)
    from phoundry.training.planning.calibrate import calibrate

    return calibrate(spec, draft, options, say, only_usual=bool(reason))


def find_options(spec: TrainingSpec, draft: Draft) -> Options:
    """What fits the memory.

    gradient_checkpointing=auto recomputes only if no row fits otherwise. A batch that the user set
    bounds the row; auto_find_batch_size halves that bound first.

    Raises:
        InsufficientResources: nothing fits; it names what would.
    """
    p = draft.parameters
    available = memory_to_plan_with(spec)
    wanted = {"auto": (False, True), "true": (True,), "false": (False,)}[p.gradient_checkpointing]
    bound = _bound(spec, draft)
    for recompute in wanted:
        fits = partial(_fits, draft, available, recompute)
        fitting = tuple(filter(fits, _candidates(draft, bound)))
        if not fitting:  # slower than those that are worth a try, but it runs
            fitting = tuple(filter(fits, [max(draft.longest, SHORTEST_ROW)]))
        if fitting:
            usual = max((row for row in fitting if row <= USUAL_ROW), default=fitting[0])
            batch = _batch(draft, fitting[-1]) if p.auto_find_batch_size else None
            precisions = _precisions(spec, draft, fitting[0], recompute, available)
            return Options(precisions, fitting, usual, recompute, batch, available)
    sizes = draft.rows(max(draft.longest, SHORTEST_ROW)).sizes
    raise too_large(Needs(draft.shape, p, draft.samples.lengths, sizes), available)


def why_not_measured(draft: Draft, options: Options) -> str:
    """Why no steps are run before the start, or ""."""
    if draft.parameters.enable_full_determinism:
        return "not measured: enable_full_determinism asks for the same choice every time"
    flops = draft.tokens * draft.flops_per_token()
    if flops < WORTH:
        return f"not measured: the whole run is {flops:.0e} operations, too short to gain by it"
    if len(options.rows) == 1 and len(options.precisions) == 1:
        return "nothing to choose"
    return ""


def unmeasured(draft: Draft, options: Options, reason: str) -> Choices:
    """The usual values, with `reason`."""
    precision = draft.parameters.precision
    entries = [
        Choice(name="precision", value=precision, why=reason),
        Choice(name="row_tokens", value=str(options.row), why=reason),
        *recompute_entry(draft, options),
    ]
    return Choices(
        precision=precision,
        row_tokens=options.row,
        recompute=options.recompute,
        batch=options.batch,
        entries=entries,
    )


def recompute_entry(draft: Draft, options: Options) -> list[Choice]:
    """What was decided about gradient checkpointing, where that was left to the plan."""
    if draft.parameters.gradient_checkpointing != "auto":
        return []
    kept = draft.memory(options.row, recompute=False)
    found = f"keeping everything takes {kept / 1e9:.1f} GB of {options.available / 1e9:.1f} GB"
    value = "true" if options.recompute else "false"
    return [Choice(name="gradient_checkpointing", value=value, why=found)]


def apply_choices(
    parameters: FineTuneParameters, sources: Mapping[str, str], choices: Choices
) -> tuple[FineTuneParameters, dict[str, str]]:
    """The parameters of the run and where each came from. The packs of a step stay the same."""
    changes: dict[str, object] = {}
    if choices.precision != parameters.precision:
        changes["precision"] = choices.precision
    if choices.batch is not None and choices.batch != parameters.per_device_train_batch_size:
        packs = parameters.per_device_train_batch_size * parameters.gradient_accumulation_steps
        changes["per_device_train_batch_size"] = choices.batch
        changes["gradient_accumulation_steps"] = packs // choices.batch
    measured = {entry.name for entry in choices.entries if entry.measured} & {"precision"}
    found = dict(sources) | dict.fromkeys([*changes, *measured], "measured")
    return FineTuneParameters.model_validate({**parameters.model_dump(), **changes}), found


def memory_to_plan_with(spec: TrainingSpec) -> int:
    """Bytes this process may have in all where it trains: what it has already, and what is free."""
    available = device.available_memory(device.chosen())
    return available if spec.memory_limit is None else min(available, spec.memory_limit)


def _fits(draft: Draft, available: int, recompute: bool, row: int) -> bool:
    return draft.memory(row, recompute=recompute) <= available


def _bound(spec: TrainingSpec, draft: Draft) -> int:
    """Most tokens of a row: the step's, or those of the batch that the user set."""
    batch = draft.parameters.per_device_train_batch_size
    if spec.sources.get("per_device_train_batch_size") == "user":
        return min(draft.step_tokens, draft.capacity * batch)
    return draft.step_tokens


def _candidates(draft: Draft, bound: int) -> list[int]:
    """Rows worth a try, ascending. One shorter than the longest conversation would repeat it, and
    one that holds all of every step's is as good as any longer."""
    rows = {row for row in ROWS if draft.longest <= row < bound}
    if bound <= ROWS[-1]:
        rows.add(bound)
    apart = {draft.rows(row): row for row in sorted(rows, reverse=True)}
    return sorted(apart.values()) or [draft.longest]


def _batch(draft: Draft, row: int) -> int:
    """The largest divisor of the step's packs that fits into a row of `row` tokens."""
    packs, most = draft.order.batch, draft.parameters.per_device_train_batch_size
    fitting = [n for n in range(1, most + 1) if packs % n == 0 and draft.capacity * n <= row]
    return fitting[-1] if fitting else 1


def _precisions(
    spec: TrainingSpec, draft: Draft, row: int, recompute: bool, available: int
) -> tuple[Precision, ...]:
    """The resolved precision, and the other one where it is open, sensible and fits."""
    resolved = draft.parameters.precision
    open_ = spec.sources.get("precision") in ("machine", "model", "default")
    if not open_ or not machine.multiplies_bfloat16():
        return (resolved,)
    other: Precision = "32" if resolved == "16" else "16"
    changed = draft.parameters.model_copy(update={"precision": other})
    fits = draft.memory(row, recompute=recompute, parameters=changed) <= available
    return (resolved, other) if fits else (resolved,)
