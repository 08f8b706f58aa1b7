"""How much memory a fine-tune will take, from the shapes alone. No torch here."""

from __future__ import annotations

from collections.abc import Iterable

from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.planning.shape import ModelShape

__all__ = ["QLORA_BITS", "USUAL_ROW", "ModelShape", "estimate_memory", "heaviest_segment"]

# Interpreter and torch with their code pages, before any weight (measured).
PROCESS_BYTES = 260_000_000
# The matrix library itself, and what it keeps for the products of each number of tokens that it has
# met: in a row, or supervised in one (measured).
LIBRARY_BYTES, SIZE_BYTES = 330_000_000, 17_000_000
# So many numbers where nothing is known of the rows; and the most that are kept at a time.
USUAL_SIZES, MOST_SIZES = 6, 32
# A layer's gathered keys and values exist so often at a time: turned, on the way there, and their
# gradients in the same two ways.
COPIES = 4
# Adafactor is transformers', whose import takes so much more (measured).
ADAFACTOR_BYTES = 200_000_000
# What comes and goes with every row leaves gaps between (measured; docs/design/training.md).
SLACK = 1.1
# Supervised tokens whose logits exist at one time (loss.CHUNK).
LOGITS_AT_A_TIME = 512
# Longer conversations' attention weights are not kept (attention.LONGEST_DENSE).
LONGEST_KEPT = 512
# QLoRA keeps the base's linear layers in 4 bits, with a scale of 8 bits for every 64 weights and
# one of 32 bits for every 256 of those (Dettmers et al. 2023, section 3: 0.127 bits a weight).
QLORA_BITS = 4 + 8 / 64 + 32 / (64 * 256)
TYPICAL_SEGMENT = 256
# Tokens of a row where nothing is measured.
USUAL_ROW = 1024


def estimate_memory(
    shape: ModelShape,
    parameters: FineTuneParameters,
    *,
    row_tokens: int,
    base_bits: float | None = None,
    segment: float = TYPICAL_SEGMENT,
    gathered: int = 0,
    sizes: int = USUAL_SIZES,
    recompute: bool = False,
) -> int:
    """Peak resident bytes of a fine-tune.

    What stays: weights, and for each trained one its float32 master, gradient and optimizer state.
    What comes and goes: what a row keeps for its backward pass with one chunk of logits, or the
    gradients in the weights' width, whichever is more. And the process itself. Recomputing keeps
    one layer's inside and every layer's input.

    Args:
        row_tokens: tokens of the largest forward pass.
        base_bits: bits that a frozen linear weight is kept in, if fewer than the precision's
            (`QLORA_BITS`). One layer at a time is unpacked to the precision's width.
        segment: attention weights kept for each token and head (`heaviest_segment`).
        gathered: tokens of which a row gathers keys and values, if more than it has.
        sizes: how many different numbers of tokens come in products.
    """
    width = 2 if parameters.precision == "16" else 4
    trained = shape.adapter_weights(parameters.lora_r) if parameters.apply_lora else shape.weights
    master = 4 if width == 2 else 0  # a float32 weight is its own master
    moments = 8 if parameters.optim == "adamw_torch" else 0
    stays = shape.weights * width + trained * (master + 4 + moments)
    if parameters.apply_lora:
        stays += trained * width
    if base_bits is not None:
        stays -= round(shape.linear_weights * (width - base_bits / 8))
        stays += shape.hidden * shape.intermediate * width
    inside = row_tokens * _kept_per_token(shape, parameters, width, min(segment, row_tokens))
    inputs = row_tokens * shape.hidden * width * shape.layers
    activations = inside + inputs if recompute else inside * shape.layers
    logits = min(LOGITS_AT_A_TIME, row_tokens) * shape.vocabulary * width
    if not parameters.apply_lora:  # the gradient of the output projection, added up in float32
        logits += shape.vocabulary * shape.hidden * (4 + master // 2)
    gradients = trained * width if width == 2 else 0
    beyond = max(0, gathered - row_tokens) * 2 * shape.key_heads * shape.head_width * width
    activations += COPIES * beyond
    process = PROCESS_BYTES + LIBRARY_BYTES + min(sizes, MOST_SIZES) * SIZE_BYTES
    if parameters.optim == "adafactor":
        process += ADAFACTOR_BYTES
    return process + stays + round(SLACK * max(activations + logits, gradients))


def heaviest_segment(lengths: Iterable[int], row_tokens: int) -> float:
    """Attention weights kept for each token and head of the heaviest row there can be.

    A conversation of s tokens keeps s², one of over 512 none. The heaviest row is filled with the
    longest conversations that keep theirs.
    """
    tokens = squares = 0
    for length in sorted((n for n in lengths if n <= LONGEST_KEPT), reverse=True):
        taken = min(length, row_tokens - tokens)
        if taken <= 0:
            break
        tokens += taken
        squares += taken * length
    return squares / tokens if tokens else 0.0


def _kept_per_token(
    shape: ModelShape, parameters: FineTuneParameters, width: int, segment: float
) -> float:
    """Bytes that one decoder layer keeps for each token until its backward pass.

    Two norms their input and output, attention its turned queries, keys and values, its weights and
    its output, the MLP gate, up and their product, each adapter its low-rank product.
    """
    q, kv = shape.heads * shape.head_width, shape.key_heads * shape.head_width
    attention = 2 * q + 2 * kv + shape.heads * segment
    low_rank = 7 * parameters.lora_r if parameters.apply_lora else 0
    return (4 * shape.hidden + attention + 3 * shape.intermediate + low_rank) * width
