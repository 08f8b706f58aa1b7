"""How many floating-point operations training takes, by the shapes. No torch here.

A product of a token's vector with a matrix of W weights is 2W operations. Forward that is done
once; the backward pass does it once more for the gradient of the input and once more for that of
the weight. A frozen weight needs no gradient: two thirds are left.

Attention of a token over on average half of its conversation of s tokens: 2·d·s/2 for the scores
and as much for the values, and twice that backward: 6·d·s. The mean over the tokens of s is
Σs²/Σs.

Source: docs/design/training.md; the counts are those of Kaplan et al. 2020, table 1, with the
frozen weights left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.planning.shape import ModelShape


def flops_per_token(
    shape: ModelShape,
    parameters: FineTuneParameters,
    *,
    supervised_share: float,
    mean_segment: float,
    computed_share: float = 1.0,
) -> float:
    """Operations that a trained token needs, prompts included. Recomputing is not counted.

    With P the decoder's linear weights, H = vocabulary × hidden, f the share of tokens that is
    supervised, A the adapters' weights, L layers, d the width of all heads, s̄ = Σs²/Σs:
    full 6P + 6fH + 6·L·d·s̄, LoRA 4P + 4fH + 6A + 6·L·d·s̄.

    Args:
        supervised_share: f, 0 to 1.
        mean_segment: s̄ in tokens (`mean_segment`).
        computed_share: of the tokens, those that are computed: what conversations begin with alike
            goes through the decoder once, and counts once.
    """
    decoder = computed_share * shape.linear_weights
    head = supervised_share * shape.vocabulary * shape.hidden
    attention = 6 * shape.layers * shape.heads * shape.head_width * mean_segment * computed_share
    if parameters.apply_lora:
        adapters = computed_share * shape.adapter_weights(parameters.lora_r)
        return 4 * (decoder + head) + 6 * adapters + attention
    return 6 * (decoder + head) + attention


def flops_per_evaluated_token(
    shape: ModelShape, *, supervised_share: float, mean_segment: float
) -> float:
    """The same of a token that is only looked at: one forward pass, adapters left out."""
    attention = 2 * shape.layers * shape.heads * shape.head_width * mean_segment
    return (
        2 * (shape.linear_weights + supervised_share * shape.vocabulary * shape.hidden) + attention
    )


def mean_segment(lengths: Iterable[int]) -> float:
    """Σs²/Σs: the length of the conversation that a token is in, averaged over the tokens."""
    tokens = squares = 0
    for length in lengths:
        tokens += length
        squares += length * length
    return squares / tokens if tokens else 0.0
