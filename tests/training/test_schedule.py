from __future__ import annotations

import pytest
import torch
from transformers import get_scheduler

from phoundry.training.schedule import factor

KINDS = ["linear", "cosine", "cosine_with_restarts", "polynomial", "constant"]
WARM_KINDS = [*KINDS, "constant_with_warmup"]


@pytest.mark.parametrize("kind", WARM_KINDS)
@pytest.mark.parametrize(("warmup", "total"), [(0, 10), (3, 10), (9, 10), (5, 3)])
def test_every_schedule_equals_transformers(kind: str, warmup: int, total: int) -> None:
    rate = 3e-4
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = get_scheduler(kind, optimizer, num_warmup_steps=warmup, num_training_steps=total)
    for step in range(total):
        expected = optimizer.param_groups[0]["lr"]
        ours = rate * factor(kind, step, warmup=warmup, total=total, learning_rate=rate)
        assert ours == pytest.approx(expected, rel=1e-9, abs=1e-15), step
        optimizer.step()
        scheduler.step()


def test_an_unknown_schedule_is_named() -> None:
    with pytest.raises(ValueError, match="no schedule 'square'"):
        factor("square", 0, warmup=0, total=1, learning_rate=1e-3)
