"""Choosing a token from logits: the reference of what `SamplingParams` means."""

from __future__ import annotations

import torch
from torch import Tensor

from phoundry.serving.engines.base import SamplingParams


def choose(
    logits: Tensor, seen: list[int], params: SamplingParams, generator: torch.Generator
) -> int:
    """The next token's id.

    `logits`: `(vocab,)`, float32. `seen`: ids of the prompt and of the answer so far. In order:
    penalties as OpenAI's API reference defines them, temperature, top-k, top-p (the smallest set of
    the likeliest tokens whose probabilities add up to `top_p`; Holtzman et al. 2020).
    """
    logits = penalised(logits, seen, params)
    if params.temperature == 0:
        return int(logits.argmax())
    probabilities = truncated(logits / params.temperature, params.top_k, params.top_p)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def penalised(logits: Tensor, seen: list[int], params: SamplingParams) -> Tensor:
    """`logit - presence * [count > 0] - frequency * count` for each token of `seen`."""
    if not params.presence_penalty and not params.frequency_penalty:
        return logits
    counts = torch.bincount(torch.tensor(seen), minlength=logits.shape[0]).to(logits.dtype)
    present = (counts > 0).to(logits.dtype)
    return logits - params.presence_penalty * present - params.frequency_penalty * counts


def truncated(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Probabilities `(vocab,)` after top-k (0: all) and top-p; those left out are 0."""
    ordered, order = logits.sort(descending=True)
    if top_k:
        ordered[top_k:] = float("-inf")
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities.masked_fill(before >= top_p, 0.0) if top_p < 1 else probabilities
    return torch.zeros_like(logits).scatter(0, order, probabilities)
