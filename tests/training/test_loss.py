from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from phoundry.training import loss
from phoundry.training.loss import Logits, cross_entropy_and_hits, cross_entropy_sum


@pytest.mark.parametrize("tokens", [1, 7, 8, 9, 40])
@pytest.mark.parametrize("cached", [1, 150, 1 << 20])
def test_loss_and_gradients_equal_torch(
    tokens: int, cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "CHUNK", 8)
    monkeypatch.setattr(loss, "_CACHED", cached)
    torch.manual_seed(0)
    hidden = torch.randn(tokens, 16, requires_grad=True)
    weight = torch.randn(50, 16, requires_grad=True)
    targets = torch.randint(50, (tokens,))
    logits = torch.nn.functional.linear(hidden, weight)
    expected = cross_entropy(logits, targets, reduction="sum")
    wanted = torch.autograd.grad(expected * 0.3, (hidden, weight))

    ours = cross_entropy_sum(hidden, weight, targets)
    got = torch.autograd.grad(ours * 0.3, (hidden, weight))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cached", [1, 1 << 20])
def test_rows_beyond_the_targets_are_of_no_account(
    cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "CHUNK", 8)
    monkeypatch.setattr(loss, "_CACHED", cached)
    torch.manual_seed(0)
    hidden = torch.randn(24, 16, requires_grad=True)
    weight = torch.randn(50, 16, requires_grad=True)
    targets = torch.randint(50, (11,))
    expected = cross_entropy_sum(hidden[:11], weight, targets)
    wanted = torch.autograd.grad(expected, (hidden, weight))
    ours = cross_entropy_sum(hidden, weight, targets)
    got = torch.autograd.grad(ours, (hidden, weight))
    torch.testing.assert_close(ours, expected)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b)
    total, hits = cross_entropy_and_hits(hidden, weight, targets)
    assert (total, hits) == (
        pytest.approx(float(expected.detach()), rel=1e-5),
        cross_entropy_and_hits(hidden[:11], weight, targets)[1],
    )


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden = torch.randn(5, 16, requires_grad=True)
    weight = torch.randn(50, 16)
    cross_entropy_sum(hidden, weight, torch.arange(5)).backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_bfloat16_loss_is_that_of_float32_within_its_precision() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(300, 64), torch.randn(500, 64) / 8
    targets = torch.randint(500, (300,))
    expected = cross_entropy_sum(hidden, weight, targets) / 300
    ours = cross_entropy_sum(hidden.bfloat16(), weight.bfloat16(), targets) / 300
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, expected, rtol=2e-3, atol=0)


def test_extreme_logits_stay_finite() -> None:
    hidden = torch.tensor([[300.0], [-300.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0], [0.0]])
    total = cross_entropy_sum(hidden, weight, torch.tensor([0, 0]))
    total.backward()
    assert float(total.detach()) == pytest.approx(600.0)
    assert hidden.grad is not None
    assert torch.isfinite(hidden.grad).all()


@pytest.mark.parametrize("tokens", [1, 8, 21])
def test_hits_are_the_likeliest_tokens(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "CHUNK", 8)
    torch.manual_seed(0)
    hidden, weight = torch.randn(tokens, 16), torch.randn(5, 16)
    targets = torch.randint(5, (tokens,))
    total, hits = cross_entropy_and_hits(hidden, weight, targets)
    assert hits == int(((hidden @ weight.T).argmax(-1) == targets).sum())
    assert total == pytest.approx(float(cross_entropy_sum(hidden, weight, targets)), rel=1e-5)


def test_a_token_that_is_all_but_impossible_has_its_loss() -> None:
    """Its probability is no float32 number any more."""
    hidden = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    weight = torch.tensor([[0.0, 0.0], [500.0, 80.0], [3.0, 1.0]])
    targets = torch.tensor([2, 0])
    expected = cross_entropy(hidden @ weight.T, targets, reduction="sum")
    (wanted,) = torch.autograd.grad(expected, hidden)
    ours = cross_entropy_sum(hidden, weight, targets)
    (got,) = torch.autograd.grad(ours, hidden)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(got, wanted)


def test_room_that_is_used_again_changes_no_number() -> None:
    torch.manual_seed(0)
    room = Logits()
    for tokens, dtype in [(5, torch.float32), (9, torch.float32), (3, torch.bfloat16), (4, None)]:
        hidden = torch.randn(tokens, 16, dtype=dtype, requires_grad=True)
        weight = torch.randn(50, 16, dtype=dtype)
        targets = torch.randint(50, (tokens,))
        alone = cross_entropy_sum(hidden, weight, targets)
        (wanted,) = torch.autograd.grad(alone, hidden)
        shared = cross_entropy_sum(hidden, weight, targets, room)
        (got,) = torch.autograd.grad(shared, hidden)
        assert torch.equal(shared, alone)
        assert torch.equal(got, wanted)
        told = cross_entropy_and_hits(hidden, weight, targets)
        assert cross_entropy_and_hits(hidden, weight, targets, room) == told
