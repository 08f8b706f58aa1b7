from __future__ import annotations

import pytest
import torch

from phoundry.training.planning import matmul


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arithmetic is tested, not the machine."""
    monkeypatch.setattr(matmul, "SIDE", 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_rate_is_operations_over_seconds(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(matmul.time, "perf_counter", lambda: next(ticks) * 0.25)
    assert matmul.best_rate(dtype) == pytest.approx(2 * 64**3 / 0.25)


def test_a_slow_machine_measures_once_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(matmul.time, "perf_counter", lambda: next(ticks) * 60.0)
    assert matmul.best_rate(torch.float32) == pytest.approx(2 * 64**3 / 60)


def test_random_numbers_and_gradients_are_left_alone() -> None:
    before = torch.get_rng_state()
    assert matmul.best_rate(torch.float32) > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()
