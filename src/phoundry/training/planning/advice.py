"""What a plan and a job tell before the start: what was asked for and cannot come, or costs much.

All of it needs the data, so that it cannot be told where parameters are checked.
"""

from __future__ import annotations

from phoundry.training.batch import rows_of_step
from phoundry.training.packing import EpochOrder
from phoundry.training.planning.draft import Draft
from phoundry.training.planning.estimate import USUAL_ROW
from phoundry.training.planning.rows import Rows

# Packs that are looked at, and of so many conversations.
PACKS, LOOKED_AT = (1024, 2048, 4096), 64
# From such a share of the tokens on, computing them again and again is worth a word.
WORTH_TELLING = 0.25


def advice(draft: Draft) -> list[str]:
    """Sentences for people; none where all is well."""
    return [*_of_warm_up(draft), *_of_packs(draft)]


def without_evaluation(draft: Draft) -> list[str]:
    """That nothing will be evaluated, though it was to be."""
    if draft.validation is not None or draft.parameters.evaluation_strategy == "disable":
        return []
    return ["No conversations are held out: nothing is evaluated while it trains."]


def _of_warm_up(draft: Draft) -> list[str]:
    p = draft.parameters
    if p.lr_scheduler_type == "constant" or p.warmup_steps < draft.max_steps:
        return []
    return [
        f"warmup_steps={p.warmup_steps} outlasts the run's {draft.max_steps} steps: the learning "
        f"rate never comes to {p.learning_rate:g}. Set fewer, or train longer."
    ]


def _of_packs(draft: Draft) -> list[str]:
    """Longer packs, where those of a step hold too few conversations that begin alike."""
    p = draft.parameters
    if not (draft.share and p.packing):
        return []
    first = draft.samples[:LOOKED_AT]
    lengths = draft.samples.lengths[: len(first)]
    shares: dict[int, float] = {}
    for capacity in PACKS:
        if capacity > draft.capacity:
            order = EpochOrder(lengths, capacity=capacity, batch=draft.order.batch, seed=p.seed)
            rows = [row for step in order.steps(0) for row in rows_of_step(step, first, USUAL_ROW)]
            shares[capacity] = Rows.of(rows).computed_share
    now = draft.computed_share
    if not shares or now - min(shares.values()) < WORTH_TELLING:
        return []
    # The shortest that has most of it.
    enough = now - 0.8 * (now - min(shares.values()))
    wanted = next(capacity for capacity, share in shares.items() if share <= enough)
    return [
        f"Conversations begin alike, and packs of {draft.capacity} tokens hold few of them: with "
        f"pack_length={wanted}, about {1 - shares[wanted]:.0%} of the tokens would be computed "
        f"once instead of again and again, and steps would be fewer (now {1 - now:.0%})."
    ]
