from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import scaled_dot_product_attention

from phoundry.training import attention
from phoundry.training.attention import segment_attention

SEGMENTS = (5, 1, 17, 9)


def _inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    tokens = sum(SEGMENTS)
    query = torch.randn(1, tokens, 6, 8, dtype=dtype).transpose(1, 2).requires_grad_()
    key = torch.randn(1, tokens, 2, 8, dtype=dtype).transpose(1, 2).requires_grad_()
    value = torch.randn(1, tokens, 2, 8, dtype=dtype).transpose(1, 2).requires_grad_()
    return query, key, value


def _reference(query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor:
    """One dense mask over the whole row, keys repeated: slow and plain."""
    number = torch.repeat_interleave(torch.arange(len(SEGMENTS)), torch.tensor(SEGMENTS))
    place = torch.arange(len(number))
    back = place[:, None] - place[None, :]
    mask = (number[:, None] == number[None, :]) & (back >= 0)
    if window is not None:
        mask &= back < window
    key, value = key.repeat_interleave(3, 1), value.repeat_interleave(3, 1)
    return scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)


@pytest.mark.parametrize("longest_dense", [0, 10, 512])
@pytest.mark.parametrize("window", [None, 4, 64])
def test_output_and_gradients_equal_one_dense_mask(
    longest_dense: int, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "LONGEST_DENSE", longest_dense)
    inputs = _inputs()
    expected = _reference(*inputs, window)
    direction = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, inputs, direction)
    ours, _ = segment_attention(Module(), *inputs, None, segments=SEGMENTS, sliding_window=window)
    got = torch.autograd.grad(ours, inputs, direction)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_nothing_crosses_from_one_conversation_to_another() -> None:
    query, key, value = _inputs()
    first = slice(0, SEGMENTS[0])
    before, _ = segment_attention(Module(), query, key, value, None, segments=SEGMENTS)
    with torch.no_grad():
        for tensor in (query, key, value):
            tensor[:, :, first] += 5
    after, _ = segment_attention(Module(), query, key, value, None, segments=SEGMENTS)
    assert not torch.equal(before[:, first], after[:, first])
    assert torch.equal(before[:, SEGMENTS[0] :], after[:, SEGMENTS[0] :])


def test_nothing_is_seen_ahead() -> None:
    query, key, value = _inputs()
    before, _ = segment_attention(Module(), query, key, value, None, segments=SEGMENTS)
    with torch.no_grad():
        value[:, :, -1] += 5
        key[:, :, -1] += 5
    after, _ = segment_attention(Module(), query, key, value, None, segments=SEGMENTS)
    assert torch.equal(before[:, :-1], after[:, :-1])
    assert not torch.equal(before[:, -1], after[:, -1])


def test_a_row_whose_segments_do_not_add_up_is_refused() -> None:
    with pytest.raises(ValueError, match="all its segments"):
        segment_attention(Module(), *_inputs(), None, segments=(5, 1))
