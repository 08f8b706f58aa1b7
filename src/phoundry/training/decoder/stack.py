"""The decoder: one forward pass for Llama, Mistral, Phi-3, Qwen 2 and 3, and Gemma 3.

    x = embedding(ids)
    for each layer:  x = x + O(attention(QKV(norm(x))));  x = x + Down(gated(GateUp(norm(x))))
    answer = norm(x) where a supervised token is predicted

Everything is (tokens, width): a row has no batch dimension. The values are those of transformers'
models (tests/training/test_model.py); the way there is made for training small models fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, pad
from torch.utils import checkpoint

from phoundry.training.decoder.architecture import Architecture
from phoundry.training.decoder.attention import (
    Attention,
    NextPlaces,
    attend,
    attend_each,
    attend_to,
    turned_heads,
)
from phoundry.training.decoder.heads import Heads
from phoundry.training.decoder.layers import gated, pieces, remade, rms_norm
from phoundry.training.decoder.layout import Group, Layout
from phoundry.training.decoder.projection import Projection
from phoundry.training.decoder.rope import Rotary, Turn
from phoundry.training.decoder.weights import EMBEDDING, HEAD, NORM

ALIGNED = 32
# Of one layer: turned keys (keys, tokens, width) and values, of the tokens so far.
Cached = tuple[Tensor, Tensor]


class Layer:
    """One layer. `tensors` are the model's; the projections copy theirs together."""

    def __init__(
        self, number: int, a: Architecture, tensors: dict[str, Tensor], *, recompute: bool
    ) -> None:
        at = f"model.layers.{number}"
        self.a, self.rotation, self.recompute = a, a.rotations[number], recompute
        self.heads = Heads(a.heads, a.key_heads, a.head_width, a.attention_scale, a.windows[number])
        joint, inner = ("qkv_proj",), ("gate_up_proj",)
        if not a.fused:
            joint, inner = ("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")
        self.qkv = Projection([f"{at}.self_attn.{name}" for name in joint], tensors)
        self.output = Projection([f"{at}.self_attn.o_proj"], tensors)
        self.gate_up = Projection([f"{at}.mlp.{name}" for name in inner], tensors)
        self.down = Projection([f"{at}.mlp.down_proj"], tensors)
        names = [name for name in tensors if name.startswith(f"{at}.") and "norm." in name]
        self.norms = {name: nn.Parameter(tensors[name], requires_grad=False) for name in names}
        self._at = at
        for projection in self.projections:  # the originals are not kept beside the copies
            for part in projection.parts:
                tensors.pop(f"{part}.weight", None)
                tensors.pop(f"{part}.bias", None)

    @property
    def projections(self) -> tuple[Projection, ...]:
        return self.qkv, self.output, self.gate_up, self.down

    def __call__(
        self,
        x: Tensor,
        turn: Turn,
        attention: Attention,
        places: Tensor | None,
        training: bool,
    ) -> Tensor:
        """(tokens, hidden) → the same, or (places, hidden): what comes after attention is computed
        for `places` alone."""
        qkv = self._queries(x, training)
        attended = attend(qkv, turn, attention, self.heads)
        if places is not None:
            x, attended = x.index_select(0, places), attended.index_select(0, places)
        return self._rest(x, attended, training)

    def read(self, x: Tensor, turn: Turn) -> tuple[Tensor, Cached]:
        """The same for one conversation, and what later tokens need of it."""
        query, key, value = turned_heads(self._queries(x, False), turn, self.heads)
        attended = attend_to(query, key, value, self.heads)
        return self._rest(x, attended, False), (key, value)

    def step(self, x: Tensor, turn: Turn, at: NextPlaces, block: Cached) -> Tensor:
        """The same for the next token of each of several conversations, whose earlier ones are in
        `block` and which writes its own there (`together.py`)."""
        query, key, value = turned_heads(self._queries(x, False), turn, self.heads)
        attended = attend_each(query, key, value, at, block, self.heads)
        return self._rest(x, attended, False)

    def _queries(self, x: Tensor, training: bool) -> Tensor:
        qkv = self._projected(self.qkv, partial(self._norm, "input_layernorm", x), training)
        if not self.a.head_norms:
            return qkv
        sizes = [self.a.query_width, self.a.key_width, self.a.key_width]
        query, key, value = pieces(qkv, sizes, 1)
        shape = (len(x), -1, self.a.head_width)
        query = self._norm("self_attn.q_norm", query.reshape(shape)).flatten(1)
        key = self._norm("self_attn.k_norm", key.reshape(shape)).flatten(1)
        return torch.cat([query, key, value], dim=-1)

    def _rest(self, x: Tensor, attended: Tensor, training: bool) -> Tensor:
        added = self.output(attended, training=training)
        if self.a.gemma:
            added = self._norm("post_attention_layernorm", added)
        x = x + added
        before = "pre_feedforward_layernorm" if self.a.gemma else "post_attention_layernorm"
        inner = self._projected(self.gate_up, partial(self._norm, before, x), training)
        added = self._projected(self.down, partial(gated, inner, self.a.activation), training)
        if self.a.gemma:
            added = self._norm("post_feedforward_layernorm", added)
        return x + added

    def _projected(
        self, projection: Projection, make: Callable[[], Tensor], training: bool
    ) -> Tensor:
        """The projection of what `make` gives, which is made again for the backward pass."""
        x = make()
        if self.recompute:  # nothing of the layer is kept anyway
            return projection(x, training=training)
        with remade(x, make):
            return projection(x, training=training)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight = self.norms[f"{self._at}.{name}.weight"]
        return rms_norm(x, weight, self.a.eps, offset=1.0 if self.a.gemma else 0.0)


class Decoder:
    """Embedding, layers, last norm and output projection.

    `recompute`: layers are computed again in the backward pass instead of being kept.
    """

    def __init__(
        self, a: Architecture, tensors: dict[str, Tensor], *, recompute: bool = False
    ) -> None:
        self.a, self.recompute, self.training = a, recompute, True
        device = tensors[EMBEDDING].device
        self.rotary = Rotary(a, device)
        self.embedding = nn.Parameter(tensors.pop(EMBEDDING), requires_grad=False)
        self.norm = nn.Parameter(tensors.pop(NORM), requires_grad=False)
        head = self.embedding if a.tied else nn.Parameter(tensors.pop(HEAD), requires_grad=False)
        self.head = head
        self.layers = [Layer(n, a, tensors, recompute=recompute) for n in range(a.layers)]

    def train_all(self) -> dict[str, nn.Parameter]:
        """Make every weight trainable; by transformers' name."""
        named = self._outer()
        for layer in self.layers:
            named |= layer.norms
        for weight in named.values():
            weight.requires_grad_(True)
        for projection in self.projections():
            named |= projection.train_weights()
        return named

    def add_adapters(self, r: int, alpha: float, drop: float) -> dict[str, nn.Parameter]:
        """A fresh adapter on every linear layer but the output projection; weights by name."""
        named: dict[str, nn.Parameter] = {}
        for projection in self.projections():
            named |= projection.add_adapter(r, alpha, drop)
        return named

    def projections(self) -> Iterator[Projection]:
        for layer in self.layers:
            yield from layer.projections

    def state(self) -> dict[str, Tensor]:
        """Every base weight by transformers' name."""
        named: dict[str, Tensor] = dict(self._outer())
        for layer in self.layers:
            named |= layer.norms
        for projection in self.projections():
            named |= projection.state()
        return named

    def hidden(self, ids: Tensor, groups: Sequence[Group], places: Tensor) -> Tensor:
        """The normalised output where `places` (targets,) point: (at least targets, hidden).

        The rows beyond are of no account. They, and tokens of no account in a conversation of their
        own, make the number of rows a multiple of `ALIGNED`: the matrix library keeps a plan, and
        memory, for every size of product that it has met, and every row has another length.

        Args:
            ids: (tokens,). groups: how the conversations lie in it.
        """
        if filling := -len(ids) % ALIGNED:
            ids, groups = pad(ids, (0, filling)), (*groups, Group(0, (filling,)))
        places = pad(places, (0, -len(places) % ALIGNED))
        layout = Layout(groups)
        x = self._embedded(ids)
        turns, attention = self.rotary.turns(layout, x.dtype), Attention(layout)
        last = self.layers[-1]
        for layer in self.layers:
            turn = turns[layer.rotation]
            asked = places if layer is last else None
            if self.recompute and torch.is_grad_enabled():
                x = self._again(layer, x, turn, attention, asked)
            else:
                x = layer(x, turn, attention, asked, self.training)
        return self._last(x)

    def _again(
        self, layer: Layer, x: Tensor, turn: Turn, attention: Attention, asked: Tensor | None
    ) -> Tensor:
        """The layer, keeping nothing but its input for the backward pass."""
        run = cast(Any, checkpoint.checkpoint)
        return cast(
            Tensor, run(layer, x, turn, attention, asked, self.training, use_reentrant=False)
        )

    @torch.no_grad()
    def read(self, ids: Tensor) -> tuple[Tensor, list[Cached]]:
        """Logits after the last token of a conversation, (vocabulary,), and by layer what later
        tokens need."""
        x = self._embedded(ids)
        turns = self.rotary.turns(Layout.plain([len(ids)]), x.dtype)
        present: list[Cached] = []
        for layer in self.layers:
            x, cached = layer.read(x, turns[layer.rotation])
            present.append(cached)
        return self._last(x[-1:])[0] @ self.head.T, present

    @torch.no_grad()
    def step(self, ids: Tensor, at: Sequence[int], blocks: Sequence[Cached]) -> Tensor:
        """Logits after the next token of each of several conversations, (conversations,
        vocabulary).

        Args:
            ids: (conversations,). at: tokens of each before it.
            blocks: by layer, keys and values of all, which get those of `ids`.
        """
        x = self._embedded(ids)
        turns = self.rotary.turns_at(at, x.dtype)
        places = NextPlaces.of(at, self.a.windows, x.device)
        for layer, block in zip(self.layers, blocks, strict=True):
            x = layer.step(x, turns[layer.rotation], places, block)
        return self._last(x) @ self.head.T

    def _embedded(self, ids: Tensor) -> Tensor:
        x = embedding(ids, self.embedding)
        if self.a.gemma:
            # Rounded to the weights' dtype first, as the models were trained.
            x = x * torch.tensor(self.a.hidden**0.5, dtype=x.dtype, device=x.device)
        return x

    def _last(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.norm, self.a.eps, offset=1.0 if self.a.gemma else 0.0)

    def _outer(self) -> dict[str, nn.Parameter]:
        named = {EMBEDDING: self.embedding, NORM: self.norm}
        return named if self.a.tied else {**named, HEAD: self.head}
