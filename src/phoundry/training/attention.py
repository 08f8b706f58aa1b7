"""Attention inside each conversation of a packed row, and never across.

A row holds whole conversations one after another. Each attends causally to itself alone, so no mask
over the row is ever built: `S` conversations of `n` tokens cost `S·n²` scores, not `(S·n)²`.

Short segments use plain batched products (`_PackedAttention`): on CPU they run several times
faster than `scaled_dot_product_attention`, whose bfloat16 kernel is not made of matrix products of
full speed. The query heads that share a key head are stacked into one product, so grouped keys are
never repeated. Longer segments use torch's kernel, which does not keep the `n × n` weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

NAME = "phoundry_segments"
# Above this many tokens the kept n × n weights outgrow what the faster products save.
LONGEST_DENSE = 512


def register() -> str:
    """Make the attention known to transformers; returns the `attn_implementation` to load with.

    transformers builds no mask for an attention that has none registered, which is what we want:
    the segments say it all.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, segment_attention)
    return NAME


def segment_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    segments: Sequence[int],
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Causal attention per segment, in the form transformers calls it.

    Args:
        query: (1, heads, tokens, head_dim).
        key, value: (1, key heads, tokens, head_dim).
        segments: lengths of the conversations in the row; their sum is `tokens`.
        sliding_window: how many tokens back a token sees, itself included; None: all.

    Returns:
        (1, tokens, heads, head_dim) and None (no weights are returned).

    Raises:
        ValueError: the row is not one, a mask was passed, or the lengths don't add up.
    """
    if query.shape[0] != 1 or attention_mask is not None or sum(segments) != query.shape[2]:
        raise ValueError("segment attention takes one row without a mask, and all its segments")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    dense = dropout == 0 and max(segments) <= LONGEST_DENSE
    if dense and (sliding_window is None or max(segments) <= sliding_window):
        apply = cast(Any, _PackedAttention.apply)
        return apply(query[0], key[0], value[0], tuple(segments), scale), None
    parts: list[Tensor] = []
    start = 0
    for length in segments:
        window = slice(start, start + length)
        mask = _window_mask(length, sliding_window, query.device)
        part = scaled_dot_product_attention(
            query[:, :, window],
            key[:, :, window],
            value[:, :, window],
            attn_mask=mask,
            is_causal=mask is None,
            dropout_p=dropout,
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        parts.append(part)
        start += length
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _window_mask(length: int, window: int | None, device: torch.device) -> Tensor | None:
    """(length, length) of what may be seen, or None where plain causality says it."""
    if window is None or length <= window:
        return None
    position = torch.arange(length, device=device)
    back = position[:, None] - position[None, :]
    return (back >= 0) & (back < window)


class _PackedAttention(torch.autograd.Function):
    """softmax(s·QKᵀ + causal)·V for each segment, with its backward pass written out.

    With P the weights and g the gradient of the output: dV = Pᵀg, dP = gVᵀ,
    dS = P ∘ (dP − rowsum(P ∘ dP)), dQ = s·dS·K, dK = s·dSᵀ·Q. Products run in the input's dtype,
    the softmax in float32.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, segments: tuple[int, ...], scale: float
    ) -> Tensor:
        heads, tokens, width = query.shape
        groups = key.shape[0]
        # (tokens, heads, width): the layout the output projection wants.
        output = query.new_empty(tokens, heads, width)
        weights: list[Tensor] = []
        start = 0
        for length in segments:
            q, k, v = _slices(query, key, value, start, length)
            scores = torch.bmm(q, k.transpose(1, 2)).view(groups, -1, length, length)
            scores = scores.float().mul_(scale).add_(_causal(length, query.device))
            p = torch.softmax(scores, dim=-1).to(query.dtype).view(groups, -1, length)
            part = torch.bmm(p, v).view(heads, length, width)
            output[start : start + length] = part.transpose(0, 1)
            weights.append(p)
            start += length
        ctx.save_for_backward(query, key, value, *weights)
        ctx.segments, ctx.scale = segments, scale
        return output.unsqueeze(0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *weights = ctx.saved_tensors
        gradient = gradients[0][0].transpose(0, 1)  # (heads, tokens, width)
        heads, _, width = query.shape
        d_query, d_key, d_value = (torch.empty_like(x) for x in (query, key, value))
        start = 0
        for length, p in zip(ctx.segments, weights, strict=True):
            q, k, v = _slices(query, key, value, start, length)
            g = gradient[:, start : start + length].reshape(key.shape[0], -1, width)
            window = slice(start, start + length)
            d_value[:, window] = torch.bmm(p.transpose(1, 2), g)
            d_p = torch.bmm(g, v.transpose(1, 2))
            d_s = torch.ops.aten._softmax_backward_data(d_p, p, -1, p.dtype).mul_(ctx.scale)
            d_query[:, window] = torch.bmm(d_s, k).view(heads, length, width)
            d_key[:, window] = torch.bmm(d_s.transpose(1, 2), q)
            start += length
        return d_query, d_key, d_value, None, None


def _slices(
    query: Tensor, key: Tensor, value: Tensor, start: int, length: int
) -> tuple[Tensor, Tensor, Tensor]:
    """One segment: queries (key heads, heads a key head · length, width), keys and values."""
    window = slice(start, start + length)
    q = query[:, window].reshape(key.shape[0], -1, query.shape[-1])
    return q, key[:, window], value[:, window]


def _causal(length: int, device: torch.device) -> Tensor:
    """(length, length): 0 where a token may look, −∞ ahead of it."""
    ahead = torch.full((length, length), float("-inf"), device=device)
    return ahead.triu_(1)
