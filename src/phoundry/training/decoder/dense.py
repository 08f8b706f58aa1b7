"""Attention of short pieces, as a few large products.

On a processor plain products run several times faster than torch's attention kernel, and one
product of several pieces faster than several of one. Pieces of nearly the same size go into a
bucket (`gathering.py`): all heads of all of them are one batch.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from phoundry.training.decoder.gathering import Bucket, Gathering


def attend_dense(qkv: Tensor, gathering: Gathering) -> Tensor:
    """Causal attention of the pieces of `gathering`, queries and keys turned before it:
    (tokens, queries · width). What it holds for tokens of other pieces is of no account.

    Args:
        qkv: (tokens, heads · width): queries, keys and values side by side.
    """
    return cast(Tensor, cast(Any, _Dense.apply)(qkv, gathering))


class _Dense(torch.autograd.Function):
    """softmax(s·QKᵀ + causal)·V for each piece, with its backward pass written out.

    With P the weights and g the gradient of the output: dV = Pᵀg, dP = gVᵀ,
    dS = P ∘ (dP − rowsum(P ∘ dP)), dQ = s·dS·K, dK = s·dSᵀ·Q. Products run in the input's dtype,
    the softmax in float32. A prefix's dK and dV are sums over all that see it.

    What is gathered has a copy of a prefix's keys and values for every piece that sees them. Where
    these are many, they would outgrow all else that a layer keeps: then it is gathered again.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, gathering: Gathering) -> Tensor:
        rows = gathering.turned_rows(qkv)
        part = rows.new_empty(gathering.queries, rows.shape[1])
        weights: list[Tensor] = []
        for bucket in gathering.buckets:
            q, k, v = bucket.parts(rows)
            scores = torch.bmm(q, k.transpose(1, 2)).view(bucket.scores)
            p = torch.softmax(scores.add_(bucket.hidden), dim=-1).view(*q.shape[:2], -1)
            torch.bmm(p, v, out=part[bucket.query].view(q.shape))
            weights.append(p)
        ctx.save_for_backward(qkv if gathering.outgrows else rows, *weights)
        ctx.gathering = gathering
        return part.index_select(0, gathering.answers).view(len(qkv), -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, *weights = ctx.saved_tensors
        gathering: Gathering = ctx.gathering
        if gathering.outgrows:
            rows = gathering.turned_rows(rows)
        outer = gradients[0].reshape(-1, rows.shape[1]).index_select(0, gathering.outputs)
        outer.index_fill_(0, gathering.idle, 0)
        d_rows = rows.new_empty(len(rows) + gathering.extra, rows.shape[1])
        for bucket, p in zip(gathering.buckets, weights, strict=True):
            q, k, v = bucket.parts(rows)
            d_q, d_k, d_v = bucket.parts(d_rows)
            g = outer[bucket.query].view(q.shape)
            torch.bmm(p.transpose(1, 2), g, out=d_v)
            d_p = torch.bmm(g, v.transpose(1, 2))
            d_s = torch.ops.aten._softmax_backward_data(d_p, p, -1, p.dtype)
            torch.bmm(d_s, k, out=d_q)
            # The queries carry the scale already.
            torch.bmm(d_s.transpose(1, 2), q, out=d_k)
        d_rows[len(rows) :] = 0
        _add_prefixes(d_rows, gathering)
        return gathering.turned_back(d_rows), None


def _add_prefixes(d_rows: Tensor, gathering: Gathering) -> None:
    """Where the gradients of each prefix's keys and values are: the sum of those of all pieces that
    see it, and of its own, in float32."""
    for prefix in gathering.prefixes:
        total: Tensor | None = None
        for bucket, places, first in prefix.seen_in:
            seen = _keys_and_values(d_rows, bucket)
            of_these = seen if len(places) == len(bucket.pieces) else seen[:, places]
            added = of_these[:, :, first : first + prefix.length].sum(1, dtype=torch.float32)
            total = added if total is None else total.add_(added)
        if total is not None:
            d_rows[prefix.rows] = total.flatten(0, 1)


def _keys_and_values(d_rows: Tensor, bucket: Bucket) -> Tensor:
    """(keys and values, pieces, seen, width)."""
    shape = (-1, len(bucket.pieces), bucket.seen, d_rows.shape[1])
    return torch.cat([d_rows[bucket.key].view(shape), d_rows[bucket.value].view(shape)])
