"""Attention per conversation against one dense mask over the whole row, and rotary turns."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from phoundry.training.decoder import attention
from phoundry.training.decoder.attention import Heads, attend, attend_varlen
from phoundry.training.decoder.rope import Turn

SEGMENTS = (5, 1, 17, 9)
TOKENS = sum(SEGMENTS)
HEADS = Heads(queries=6, keys=2, width=8, scale=0.3)


def _qkv() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(TOKENS, (6 + 2 * 2) * 8, requires_grad=True)


def _turn(half: int = 4) -> Turn:
    angles = torch.randn(TOKENS, 1, half)
    return angles.cos(), angles.sin()


def _turned(x: Tensor, turn: Turn) -> Tensor:
    """The textbook's x·cos + rotate_half(x)·sin, over the first dimensions."""
    cosine, sine = (torch.cat([each, each], -1) for each in turn)
    width = cosine.shape[-1]
    moved, still = x[..., :width], x[..., width:]
    rotated = torch.cat([-moved[..., width // 2 :], moved[..., : width // 2]], -1)
    return torch.cat([moved * cosine + rotated * sine, still], -1)


def _reference(qkv: Tensor, turn: Turn, window: int | None) -> Tensor:
    """One dense mask over the whole row, keys repeated: slow and plain."""
    number = torch.repeat_interleave(torch.arange(len(SEGMENTS)), torch.tensor(SEGMENTS))
    place = torch.arange(TOKENS)
    back = place[:, None] - place[None, :]
    mask = (number[:, None] == number[None, :]) & (back >= 0)
    if window is not None:
        mask &= back < window
    parts = qkv.view(TOKENS, 10, 8)
    query, key = _turned(parts[:, :6], turn), _turned(parts[:, 6:8], turn)
    key, value = key.repeat_interleave(3, 1), parts[:, 8:].repeat_interleave(3, 1)
    query, key, value = (each.transpose(0, 1) for each in (query, key, value))
    output = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=HEADS.scale)
    return output.transpose(0, 1).flatten(1)


@pytest.mark.parametrize("longest_dense", [0, 10, 512])
@pytest.mark.parametrize("window", [None, 4, 64])
@pytest.mark.parametrize("half", [4, 2])
def test_output_and_gradients_equal_one_dense_mask(
    longest_dense: int, window: int | None, half: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "LONGEST_DENSE", longest_dense)
    qkv, turn = _qkv(), _turn(half)
    expected = _reference(qkv, turn, window)
    direction = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, qkv, direction)
    ours = attend(qkv, turn, SEGMENTS, replace(HEADS, window=window))
    (got,) = torch.autograd.grad(ours, qkv, direction)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [None, 4, 64])
def test_a_graphics_processor_is_asked_for_the_same(
    window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel itself needs one; here a plain reading of its documentation stands for it."""

    def kernel(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seq_q: Tensor,
        cu_seq_k: Tensor,
        max_q: int,
        max_k: int,
        *,
        scale: float,
        window_size: tuple[int, int],
        enable_gqa: bool = False,
    ) -> Tensor:
        assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
        assert (max_q, max_k) == (max(SEGMENTS), max(SEGMENTS))
        assert enable_gqa
        ends = [int(each) for each in cu_seq_q]
        parts: list[Tensor] = []
        for start, end in pairwise(ends):
            q, k, v = (each[start:end].transpose(0, 1) for each in (query, key, value))
            place = torch.arange(end - start)
            back = place[:, None] - place[None, :]
            seen = (back >= -window_size[1]) & ((window_size[0] < 0) | (back <= window_size[0]))
            part = scaled_dot_product_attention(
                q, k, v, attn_mask=seen, scale=scale, enable_gqa=True
            )
            parts.append(part.transpose(0, 1))
        return torch.cat(parts)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    qkv, turn = _qkv(), _turn()
    expected = _reference(qkv, turn, window)
    direction = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, qkv, direction)
    ours = attend_varlen(qkv, turn, SEGMENTS, replace(HEADS, window=window))
    (got,) = torch.autograd.grad(ours, qkv, direction)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_nothing_crosses_from_one_conversation_to_another() -> None:
    qkv, turn = _qkv(), _turn()
    before = attend(qkv, turn, SEGMENTS, HEADS)
    with torch.no_grad():
        qkv[: SEGMENTS[0]] += 5
    after = attend(qkv, turn, SEGMENTS, HEADS)
    assert not torch.equal(before[: SEGMENTS[0]], after[: SEGMENTS[0]])
    assert torch.equal(before[SEGMENTS[0] :], after[SEGMENTS[0] :])


def test_nothing_is_seen_ahead() -> None:
    qkv, turn = _qkv(), _turn()
    before = attend(qkv, turn, SEGMENTS, HEADS)
    with torch.no_grad():
        qkv[-1] += 5
    after = attend(qkv, turn, SEGMENTS, HEADS)
    assert torch.equal(before[:-1], after[:-1])
    assert not torch.equal(before[-1], after[-1])


def test_a_row_whose_segments_do_not_add_up_is_refused() -> None:
    with pytest.raises(ValueError, match="32 tokens are not the segments"):
        attend(_qkv(), _turn(), (5, 1), HEADS)
