"""The six learning-rate schedules, as pure functions of the step.

Same values as `transformers.get_scheduler` gives (tested against it). Being functions of the step
they have no state that a resume could get wrong.
"""

from __future__ import annotations

import math


def factor(kind: str, step: int, *, warmup: int, total: int, learning_rate: float) -> float:
    """What the learning rate is multiplied with in `step` (the first step is 0).

    Warm-up rises linearly from 0 over `warmup` steps (`constant` has none). Then, with p the share
    of the remaining steps that is done: linear 1−p; cosine ½(1+cos πp); cosine_with_restarts the
    same with one cycle, 0 at the end; polynomial falls linearly to 1e-7; the constants stay at 1.

    Raises:
        ValueError: there is no schedule `kind`.
    """
    if kind == "constant":
        return 1.0
    if step < warmup:
        return step / max(1, warmup)
    if kind == "constant_with_warmup":
        return 1.0
    done = (step - warmup) / max(1, total - warmup)
    if kind == "linear":
        return max(0.0, 1.0 - done)
    if kind == "cosine":
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * done)))
    if kind == "cosine_with_restarts":
        return 0.0 if done >= 1 else max(0.0, 0.5 * (1.0 + math.cos(math.pi * (done % 1.0))))
    if kind == "polynomial":
        floor = min(1.0, 1e-7 / learning_rate)
        return floor if step > total else (1.0 - floor) * (1.0 - done) + floor
    raise ValueError(f"there is no schedule '{kind}'")
