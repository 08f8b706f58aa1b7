"""Attention inside each conversation of a packed row, and never across.

A row holds whole conversations one after another. Each attends causally to itself alone, so no mask
over the row is ever built: `S` conversations of `n` tokens cost `S·n²` scores, not `(S·n)²`.

Short segments use plain batched products: on CPU they run several times faster than
`scaled_dot_product_attention`, whose bfloat16 kernel is not made of matrix products of full speed.
The query heads that share a key head are stacked into one product, so grouped keys are never
repeated. Longer segments use torch's kernel, which does not keep the `n × n` weights. A graphics
processor takes all segments in one call of FlashAttention.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from phoundry.training.decoder.layers import pieces
from phoundry.training.decoder.rope import Turn

# Above this many tokens the kept n × n weights outgrow what the faster products save.
LONGEST_DENSE = 512
# Products of short segments are made for multiples of so many tokens: the matrix library keeps a
# plan, and memory, for every size that it has met.
ALIGNED = 16


@dataclass(frozen=True, slots=True)
class Heads:
    """How a layer attends. `window`: how many tokens back it sees, itself included; None: all."""

    queries: int
    keys: int
    width: int
    scale: float
    window: int | None = None


def attend(qkv: Tensor, turn: Turn, segments: Sequence[int], heads: Heads) -> Tensor:
    """Causal attention per segment, queries and keys turned before it.

    Args:
        qkv: (tokens, (queries + 2 · keys) · width): queries, keys and values side by side.
        turn: the rotary turn of each token.
        segments: lengths of the conversations in the row; their sum is `tokens`.

    Returns:
        (tokens, queries · width).

    Raises:
        ValueError: the lengths don't add up.
    """
    if sum(segments) != qkv.shape[0]:
        raise ValueError(f"{qkv.shape[0]} tokens are not the segments {list(segments)}")
    if qkv.is_cuda and qkv.dtype != torch.float32:
        return attend_varlen(qkv, turn, segments, heads)
    longest = max(segments)
    if longest <= min(LONGEST_DENSE, heads.window or longest):
        apply = cast(Any, _ShortSegments.apply)
        return apply(qkv, *turn, tuple(segments), heads)
    turned, value = _parts(qkv, heads)
    turned = cast(Tensor, cast(Any, _Turn.apply)(turned, *turn))
    parts: list[Tensor] = []
    for query, key, each in zip(
        pieces(turned[: heads.queries], segments, 1),
        pieces(turned[heads.queries :], segments, 1),
        pieces(value, segments, 1),
        strict=True,
    ):
        parts.append(attend_to(query, key, each, heads))
    return torch.cat(parts)


def attend_varlen(qkv: Tensor, turn: Turn, segments: Sequence[int], heads: Heads) -> Tensor:
    """`attend` on a graphics processor: FlashAttention over all segments at once, as torch has it
    for 16-bit numbers."""
    from torch.nn.attention import varlen

    both, value = _parts(qkv, heads)
    turned = cast(Tensor, cast(Any, _Turn.apply)(both, *turn)).transpose(0, 1)
    ends = torch.tensor([0, *segments]).cumsum(0).to(qkv.device, torch.int32)
    longest = max(segments)
    # Its window counts the tokens before a token, ours the token itself too.
    before = -1 if heads.window is None else heads.window - 1
    grouped: dict[str, Any] = {} if heads.queries == heads.keys else {"enable_gqa": True}
    output = cast(Any, varlen).varlen_attn(
        turned[:, : heads.queries],
        turned[:, heads.queries :],
        value.transpose(0, 1),
        *(ends, ends, longest, longest),
        scale=heads.scale,
        window_size=(before, 0),
        **grouped,
    )
    return cast(Tensor, output).flatten(1)


def attend_to(query: Tensor, key: Tensor, value: Tensor, heads: Heads) -> Tensor:
    """One conversation, with torch's own kernel.

    Args:
        query: (queries, tokens, width), turned.
        key, value: (keys, tokens, width), keys turned.

    Returns:
        (tokens, queries · width).
    """
    mask = _window_mask(key.shape[1], heads.window, value.device)
    output = scaled_dot_product_attention(
        query[None],
        key[None],
        value[None],
        attn_mask=mask,
        is_causal=mask is None,
        scale=heads.scale,
        enable_gqa=heads.queries != heads.keys,
    )
    return output[0].transpose(0, 1).reshape(-1, heads.queries * heads.width)


@dataclass(frozen=True, slots=True)
class NextPlaces:
    """Where the next token of each of several conversations stands, which is the same for all
    layers. `seen`: what each may see, (conversations, length), by the window of a layer."""

    length: int  # of the longest, that token included
    place: Tensor
    row: Tensor
    seen: Mapping[int | None, Tensor]

    @classmethod
    def of(cls, at: Sequence[int], windows: Iterable[int | None], device: torch.device) -> Self:
        """`at`: tokens of each conversation before."""
        length = max(at) + 1
        place = torch.tensor(at, device=device)
        back = place[:, None] - torch.arange(length, device=device)
        seen = {each: (back >= 0) & (back < (each or length)) for each in set(windows)}
        return cls(length, place, torch.arange(len(at), device=device), seen)


def attend_each(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    at: NextPlaces,
    block: tuple[Tensor, Tensor],
    heads: Heads,
) -> Tensor:
    """One token of each of several conversations, after its own earlier ones.

    Args:
        query: (queries, conversations, width), turned. key, value: (keys, conversations, width).
        at: where the keys and values are written.
        block: keys and values, (conversations, keys, room, width) each.

    Returns:
        (conversations, queries · width).
    """
    for whole, own in zip(block, (key, value), strict=True):
        whole[at.row, :, at.place] = own.transpose(0, 1)
    output = scaled_dot_product_attention(
        query.transpose(0, 1)[:, :, None],
        block[0][:, :, : at.length],
        block[1][:, :, : at.length],
        attn_mask=at.seen[heads.window][:, None, None],
        scale=heads.scale,
        enable_gqa=heads.queries != heads.keys,
    )
    return output.flatten(1)


def turned_heads(qkv: Tensor, turn: Turn, heads: Heads) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys, turned, and values: (heads, tokens, width) each. Without gradients."""
    both, value = _parts(qkv, heads)
    turned = _turned(both, *turn)
    return turned[: heads.queries], turned[heads.queries :], value


def _parts(qkv: Tensor, heads: Heads) -> tuple[Tensor, Tensor]:
    """(heads, tokens, width) of queries and keys, and of values."""
    whole = qkv.view(qkv.shape[0], -1, heads.width).transpose(0, 1)
    return whole[: heads.queries + heads.keys], whole[heads.queries + heads.keys :]


def _window_mask(length: int, window: int | None, device: torch.device) -> Tensor | None:
    """(length, length) of what may be seen, or None where causality alone says it."""
    if window is None or length <= window:
        return None
    position = torch.arange(length, device=device)
    back = position[:, None] - position[None, :]
    return (back >= 0) & (back < window)


def _turned(
    x: Tensor, cosine: Tensor, sine: Tensor, room: int = 0, *, back: bool = False
) -> Tensor:
    """Each pair (x₁, x₂) of (heads, tokens, width) → (x₁c − x₂s, x₂c + x₁s); `back` undoes it.

    Pairs are a dimension and the one half the turned width further; the rest stays as it is. After
    the tokens there is `room` for so many more, 0.
    """
    half = cosine.shape[-1]
    c, s = cosine[:, 0], sine[:, 0]
    whole = x.new_empty(x.shape[0], x.shape[1] + room, x.shape[2])
    whole[:, x.shape[1] :] = 0
    out = whole[:, : x.shape[1]]
    first, second = x[..., :half], x[..., half : 2 * half]
    sign = 1.0 if back else -1.0
    torch.mul(first, c, out=out[..., :half]).addcmul_(second, s, value=sign)
    torch.mul(second, c, out=out[..., half : 2 * half]).addcmul_(first, s, value=-sign)
    out[..., 2 * half :] = x[..., 2 * half :]
    return whole


class _Turn(torch.autograd.Function):
    """The gradient of a turn is turned back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _turned(x, cosine, sine)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return _turned(gradients[0], *ctx.saved_tensors, back=True), None, None


class _ShortSegments(torch.autograd.Function):
    """softmax(s·QKᵀ + causal)·V for each segment, with its backward pass written out.

    With P the weights and g the gradient of the output: dV = Pᵀg, dP = gVᵀ,
    dS = P ∘ (dP − rowsum(P ∘ dP)), dQ = s·dS·K, dK = s·dSᵀ·Q. Products run in the input's dtype,
    the softmax in float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        cosine: Tensor,
        sine: Tensor,
        segments: tuple[int, ...],
        heads: Heads,
    ) -> Tensor:
        both, value = _parts(qkv, heads)
        room = -segments[-1] % ALIGNED
        turned = _turned(both, cosine, sine, room)
        turned[: heads.queries].mul_(heads.scale)
        value = torch.cat([value, value.new_zeros(heads.keys, room, heads.width)], 1)
        output = qkv.new_empty(qkv.shape[0], heads.queries * heads.width)
        by_head = output.view(-1, heads.queries, heads.width).transpose(0, 1)
        weights: list[Tensor] = []
        masks: dict[int, Tensor] = {}
        for start, length, window in _windows(segments):
            wide = window.stop - start
            q, k = _stacked(turned[: heads.queries, window], heads), turned[heads.queries :, window]
            if wide not in masks:
                masks[wide] = _ahead(wide, q)
            scores = torch.bmm(q, k.transpose(1, 2)).view(heads.keys, -1, wide, wide)
            p = torch.softmax(scores.add_(masks[wide]), dim=-1)
            p[:, :, length:] = 0
            p = p.view(heads.keys, -1, wide)
            part = torch.bmm(p, value[:, window]).view(-1, wide, heads.width)
            by_head[:, start : start + length] = part[:, :length]
            weights.append(p)
        ctx.save_for_backward(turned, value, cosine, sine, *weights)
        ctx.segments, ctx.heads = segments, heads
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        turned, value, cosine, sine, *weights = ctx.saved_tensors
        heads: Heads = ctx.heads
        gradient = gradients[0].view(-1, heads.queries, heads.width).transpose(0, 1)
        tokens, room = gradient.shape[1], turned.shape[1] - gradient.shape[1]
        gradient = torch.cat([gradient, gradient.new_zeros(heads.queries, room, heads.width)], 1)
        d_qkv = turned.new_empty(tokens, heads.queries + 2 * heads.keys, heads.width)
        d_value = d_qkv[:, heads.queries + heads.keys :].transpose(0, 1)
        d_turned = turned.new_empty(heads.queries + heads.keys, tokens, heads.width)
        for (start, length, window), p in zip(_windows(ctx.segments), weights, strict=True):
            wide, own = window.stop - start, slice(start, start + length)
            q, k = _stacked(turned[: heads.queries, window], heads), turned[heads.queries :, window]
            g = _stacked(gradient[:, window], heads)
            d_value[:, own] = torch.bmm(p.transpose(1, 2), g)[:, :length]
            d_p = torch.bmm(g, value[:, window].transpose(1, 2))
            d_s = torch.ops.aten._softmax_backward_data(d_p, p, -1, p.dtype)
            d_q = torch.bmm(d_s, k).view(-1, wide, heads.width)[:, :length]
            torch.mul(d_q, heads.scale, out=d_turned[: heads.queries, own])
            # The queries carry the scale already.
            d_turned[heads.queries :, own] = torch.bmm(d_s.transpose(1, 2), q)[:, :length]
        d_both = d_qkv[:, : heads.queries + heads.keys]
        d_both.copy_(_turned(d_turned, cosine, sine, back=True).transpose(0, 1))
        return d_qkv.flatten(1), None, None, None, None


def _windows(segments: Sequence[int]) -> Iterator[tuple[int, int, slice]]:
    """(start, length, window) of each segment; the window reaches on to a multiple of `ALIGNED`.

    What it holds of the next segment does no harm: nothing looks ahead, and the rows of the weights
    that belong to it are 0.
    """
    start = 0
    for length in segments:
        yield start, length, slice(start, start + length + -length % ALIGNED)
        start += length


def _stacked(x: Tensor, heads: Heads) -> Tensor:
    """(queries, length, width) → (keys, queries a key · length, width)."""
    return x.reshape(heads.keys, -1, heads.width)


def _ahead(length: int, like: Tensor) -> Tensor:
    """(length, length): 0 where a token may look, −∞ ahead of it."""
    ahead = torch.full((length, length), float("-inf"), device=like.device, dtype=like.dtype)
    return ahead.triu_(1)
