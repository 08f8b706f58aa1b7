"""Attention inside each conversation of a packed row, and never across.

A row holds whole conversations one after another. Each attends causally to itself alone, so no mask
over the row is ever built: `S` conversations of `n` tokens cost `S·n²` scores, not `(S·n)²`. What
conversations share at their head stands once (`layout.py`), and all of them attend to it.

On a processor short pieces are made of plain batched products (`dense.py`). Longer ones use torch's
kernel, which does not keep the `n × n` weights. A graphics processor takes all conversations in one
call of FlashAttention.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from phoundry.training.decoder.dense import attend_dense
from phoundry.training.decoder.gathering import Gathering
from phoundry.training.decoder.heads import Heads
from phoundry.training.decoder.layout import Layout, Piece
from phoundry.training.decoder.rope import Turn, turned

# Above the square of this many kept weights they outgrow what the faster products save.
LONGEST_DENSE = 512


class Attention:
    """How the tokens of one row attend, which is the same for all layers with equal heads."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._ways: dict[tuple[Heads, int], tuple[Gathering | None, list[Piece]]] = {}

    def ways(
        self, heads: Heads, turn: Turn, dtype: torch.dtype
    ) -> tuple[Gathering | None, list[Piece]]:
        """What plain products are made for (None: nothing), and what torch's kernel is called for.
        `turn` is one of the few of a row."""
        key = (heads, turn[0].data_ptr())
        if key not in self._ways:
            short = [piece for piece in self.layout.pieces if is_short(piece, heads)]
            long = [piece for piece in self.layout.pieces if not is_short(piece, heads)]
            made = Gathering(short, turn, heads, dtype=dtype) if short else None
            self._ways[key] = made, long
        return self._ways[key]


def is_short(piece: Piece, heads: Heads) -> bool:
    """Whether plain products are the faster way: few pairs, and no window to heed."""
    seen = heads.window is None or piece.end <= heads.window
    return seen and piece.length * piece.end <= LONGEST_DENSE**2


def attend(qkv: Tensor, turn: Turn, attention: Attention, heads: Heads) -> Tensor:
    """Causal attention in each conversation, queries and keys turned before it.

    Args:
        qkv: (tokens, (queries + 2 · keys) · width): queries, keys and values side by side.
        turn: the rotary turn of each token.

    Returns:
        (tokens, queries · width).

    Raises:
        ValueError: the row has another number of tokens.
    """
    layout = attention.layout
    if layout.tokens != len(qkv):
        raise ValueError(f"{len(qkv)} tokens are not the {layout.tokens} of the row's layout")
    if qkv.is_cuda and qkv.dtype != torch.float32:
        return attend_varlen(qkv, turn, layout, heads)
    gathering, long = attention.ways(heads, turn, qkv.dtype)
    if gathering is not None and not long:
        return attend_dense(qkv, gathering)
    query, key, value = _turned_heads(qkv, turn, heads)
    parts: list[Tensor] = []
    for piece in long:
        own = slice(piece.start, piece.start + piece.length)
        before = slice(piece.prefix_start, piece.prefix_start + piece.prefix)
        seen = [torch.cat([each[:, before], each[:, own]], 1) for each in (key, value)]
        parts.append(attend_to(query[:, own], seen[0], seen[1], heads))
    if gathering is None:
        return torch.cat(parts)
    places = [torch.arange(piece.start, piece.start + piece.length) for piece in long]
    index = torch.cat(places).to(qkv.device)
    return attend_dense(qkv, gathering).index_copy(0, index, torch.cat(parts))


def attend_varlen(qkv: Tensor, turn: Turn, layout: Layout, heads: Heads) -> Tensor:
    """`attend` on a graphics processor: FlashAttention over all conversations at once, as torch has
    it for 16-bit numbers.

    Raises:
        ValueError: conversations share a prefix, which the kernel is not asked for.
    """
    from torch.nn.attention import varlen

    if any(piece.prefix for piece in layout.pieces):
        raise ValueError("on a graphics processor conversations share no prefix")
    query, key, value = _turned_heads(qkv, turn, heads)
    lengths = [piece.length for piece in layout.pieces]
    ends = torch.tensor([0, *lengths]).cumsum(0).to(qkv.device, torch.int32)
    longest = max(lengths)
    # Its window counts the tokens before a token, ours the token itself too.
    before = -1 if heads.window is None else heads.window - 1
    grouped: dict[str, Any] = {} if heads.queries == heads.keys else {"enable_gqa": True}
    output = cast(Any, varlen).varlen_attn(
        query.transpose(0, 1),
        key.transpose(0, 1),
        value.transpose(0, 1),
        *(ends, ends, longest, longest),
        scale=heads.scale,
        window_size=(before, 0),
        **grouped,
    )
    return cast(Tensor, output).flatten(1)


def attend_to(query: Tensor, key: Tensor, value: Tensor, heads: Heads) -> Tensor:
    """One conversation, or the end of one, with torch's own kernel.

    Args:
        query: (queries, tokens, width), turned.
        key, value: (keys, tokens that are seen, width), keys turned; the queries' are the last.

    Returns:
        (tokens, queries · width).
    """
    mask = _mask(query.shape[1], key.shape[1], heads.window, value.device)
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
    whole = qkv.view(len(qkv), heads.all, heads.width)
    return _split(turned(whole[:, : heads.turned], turn), whole, heads)


def _turned_heads(qkv: Tensor, turn: Turn, heads: Heads) -> tuple[Tensor, Tensor, Tensor]:
    """The same, with gradients."""
    whole = qkv.view(len(qkv), heads.all, heads.width)
    moved = cast(Tensor, cast(Any, _Turn.apply)(whole[:, : heads.turned], *turn))
    return _split(moved, whole, heads)


def _split(moved: Tensor, whole: Tensor, heads: Heads) -> tuple[Tensor, Tensor, Tensor]:
    return (
        moved[:, : heads.queries].transpose(0, 1),
        moved[:, heads.queries :].transpose(0, 1),
        whole[:, heads.turned :].transpose(0, 1),
    )


def _mask(queries: int, seen: int, window: int | None, device: torch.device) -> Tensor | None:
    """(queries, seen) of what may be seen, or None where causality alone says it."""
    if queries == seen and (window is None or seen <= window):
        return None
    place = torch.arange(seen, device=device)
    back = place[seen - queries :, None] - place[None, :]
    return (back >= 0) & (back < (window or seen))


class _Turn(torch.autograd.Function):
    """The gradient of a turn is turned back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return turned(x, (cosine, sine))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        cosine, sine = ctx.saved_tensors
        return turned(gradients[0], (cosine, sine), back=True), None, None
