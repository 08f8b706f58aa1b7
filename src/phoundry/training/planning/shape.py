"""The sizes of a decoder. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a decoder that memory and speed depend on."""

    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    heads: int
    key_heads: int
    head_width: int
    context_length: int
    tied: bool  # the output projection is the embedding
    fused: bool = False  # Phi-3's: one projection for q, k and v, one for gate and up

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelShape:
        """From a config.json. Raises KeyError where it lacks a size."""
        heads = cast(int, config["num_attention_heads"])
        hidden = cast(int, config["hidden_size"])
        kind = config.get("model_type")
        return cls(
            layers=config["num_hidden_layers"],
            hidden=hidden,
            intermediate=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            heads=heads,
            key_heads=config.get("num_key_value_heads") or heads,
            head_width=config.get("head_dim") or hidden // heads,
            context_length=config.get("max_position_embeddings") or 2048,
            # Gemma's class ties them where its config is silent, the others' do not.
            tied=bool(config.get("tie_word_embeddings", kind == "gemma3_text")),
            fused=kind == "phi3",
        )

    @property
    def _linears(self) -> list[tuple[int, int]]:
        """(in, out) of the linear layers of one decoder layer."""
        q, kv = self.heads * self.head_width, self.key_heads * self.head_width
        inner = self.intermediate
        inputs = [q + 2 * kv, 2 * inner] if self.fused else [q, kv, kv, inner, inner]
        return [*((self.hidden, o) for o in inputs), (q, self.hidden), (inner, self.hidden)]

    @property
    def weights(self) -> int:
        """Number of weights, embeddings included."""
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.linear_weights + (2 * self.layers + 1) * self.hidden + tables

    @property
    def linear_weights(self) -> int:
        """Number of weights of the decoder's linear layers, which is what QLoRA quantises."""
        return self.layers * sum(i * o for i, o in self._linears)

    def adapter_weights(self, r: int) -> int:
        """Number of weights of rank-`r` adapters on every linear layer."""
        return self.layers * sum(r * (i + o) for i, o in self._linears)
