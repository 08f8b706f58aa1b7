"""How far rounding alone may move a token, by what is served. One table, measured.

A tolerance is a share of the spread of the reference's logits at a place (their standard deviation
over the vocabulary). Rounding of weights moves logits in proportion to their size, so the share
holds for models whose logits are larger or smaller than those it was measured on.

Measured by `python -m benchmarks.parity`; docs/design/parity.md has the distribution and the rule.
They are never widened to let a deployment pass.
"""

from __future__ import annotations

from phoundry.specs.quantization import Quantization

# Part of what a result is remembered by: raise it with every change of what the gate asks for.
VERSION = 2

# Of each token that is not the reference's: how far behind it may be.
QUANTIZED: dict[Quantization, float] = {
    "F32": 0.01,
    "F16": 0.01,
    "BF16": 0.03,
    "Q8_0": 0.28,
    # The fine-tune that was measured loses more in Q5_1 than in Q4_0. Five bits are not allowed
    # more than four: where they need it, the gate says so.
    "Q5_1": 3.15,
    "Q4_0": 3.15,
}
# Of all tokens together: how far behind they may be on average, those that are the same counting 0.
AVERAGE: dict[Quantization, float] = {
    "F32": 0.01,
    "F16": 0.01,
    "BF16": 0.01,
    "Q8_0": 0.01,
    "Q5_1": 0.17,
    "Q4_0": 0.17,
}
# What training said, in bfloat16, against the merged checkpoint in float32; and how far its margins
# may be from those, on the whole (root mean square).
TRAINED, DRIFT = 0.14, 0.06
# An engine that takes the checkpoint itself computes as training does.
UNQUANTIZED, UNQUANTIZED_AVERAGE = TRAINED, 0.01


def of_engine(quantization: Quantization | None) -> float:
    return UNQUANTIZED if quantization is None else QUANTIZED[quantization]


def average_of_engine(quantization: Quantization | None) -> float:
    return UNQUANTIZED_AVERAGE if quantization is None else AVERAGE[quantization]
