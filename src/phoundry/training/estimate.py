"""How much memory a fine-tune will take, from the shapes alone. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from phoundry.errors import InsufficientResources
from phoundry.specs.finetune import FineTuneParameters

# Interpreter, torch, transformers and PEFT with their code pages, before any weight (measured).
PROCESS_BYTES = 510_000_000
# The matrix library keeps a plan with buffers for every shape of product it has met (measured).
LIBRARY_BYTES = 300_000_000
# Kept by the allocator beyond what is in use at the peak (measured; docs/design/training.md).
SLACK = 1.1
# Supervised tokens whose logits exist at one time (loss.CHUNK), at 4 + 4 + 2 bytes a logit.
LOGITS_AT_A_TIME = 256
BYTES_PER_LOGIT = 10
# QLoRA keeps the base's linear layers in 4 bits, with a scale of 8 bits for every 64 weights and
# one of 32 bits for every 256 of those (Dettmers et al. 2023, section 3: 0.127 bits a weight).
QLORA_BITS = 4 + 8 / 64 + 32 / (64 * 256)


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


def estimate_memory(
    shape: ModelShape,
    parameters: FineTuneParameters,
    *,
    row_tokens: int,
    base_bits: float | None = None,
) -> int:
    """Peak resident bytes of a fine-tune.

    weights + for each trained weight its float32 master, gradient and optimizer state + what a row
    keeps for the backward pass + one chunk of logits + the process itself.

    Args:
        row_tokens: tokens of a forward pass: pack length × per_device_train_batch_size.
        base_bits: bits that a frozen linear weight is kept in, if fewer than the precision's
            (`QLORA_BITS`). One layer at a time is unpacked to the precision's width.
    """
    width = 2 if parameters.precision == "16" else 4
    trained = shape.adapter_weights(parameters.lora_r) if parameters.apply_lora else shape.weights
    # Gradient in the weight's width and in float32; a float32 weight is its own master.
    master = 4 if width == 2 else 0
    moments = 8 if parameters.optim == "adamw_torch" else 1
    per_trained = width + master + 4 + moments
    adapters = trained * width if parameters.apply_lora else 0
    activations = row_tokens * _kept_per_token(shape, parameters, width) * shape.layers
    logits = LOGITS_AT_A_TIME * shape.vocabulary * BYTES_PER_LOGIT
    if not parameters.apply_lora:
        logits += shape.vocabulary * shape.hidden * (4 + width)
    base = shape.weights * width
    if base_bits is not None:
        base -= round(shape.linear_weights * (width - base_bits / 8))
        base += shape.hidden * shape.intermediate * width
    in_use = base + adapters + trained * per_trained + activations + logits
    return PROCESS_BYTES + LIBRARY_BYTES + round(SLACK * in_use)


def check_memory(estimate: int, available: int) -> None:
    """Raises InsufficientResources where `estimate` bytes exceed `available`."""
    if estimate <= available:
        return
    raise InsufficientResources(
        f"Training needs about {estimate / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB can "
        "be had.",
        remedy="Stop what runs, choose a smaller model, lower pack_length or "
        "per_device_train_batch_size, or train adapters with apply_lora=true.",
    )


def _kept_per_token(shape: ModelShape, parameters: FineTuneParameters, width: int) -> int:
    """Bytes that one decoder layer keeps for each token until its backward pass.

    Two norms keep their float32 input and their normalised output, attention its rotated
    queries, keys and values and its weights, the MLP four tensors of its inner size.
    """
    norms = 2 * shape.hidden * (4 + 2 * width)
    q, kv = shape.heads * shape.head_width, shape.key_heads * shape.head_width
    attention = (3 * q + 3 * kv) * width + shape.heads * _typical_segment() * width
    mlp = 4 * shape.intermediate * width
    low_rank = 7 * parameters.lora_r * width if parameters.apply_lora else 0
    return norms + attention + mlp + 2 * shape.hidden * width + low_rank


def _typical_segment() -> int:
    """Tokens of a conversation for the estimate of kept attention weights."""
    return 256
