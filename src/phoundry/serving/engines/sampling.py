"""Choosing a token from logits: the reference of what `SamplingParams` means."""

from __future__ import annotations

from functools import cache

import torch
from tokenizers import Tokenizer
from torch import Tensor

from phoundry.serving.engines.base import SamplingParams, TokenLogprob


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


def likelihood(
    tokenizer: Tokenizer, logits: Tensor, token: int, top: int | None
) -> tuple[TokenLogprob, ...]:
    """Of `token` and the `top` likeliest: `log_softmax` of `logits`, `(vocab,)`, before penalties
    and temperature. Nothing where `top` is None."""
    if top is None:
        return ()
    logprobs = logits.log_softmax(-1)
    best = logprobs.topk(top)
    others = [
        _told(tokenizer, int(other), float(value))
        for other, value in zip(best.indices, best.values, strict=True)
    ]
    return (_told(tokenizer, token, float(logprobs[token]), tuple(others)),)


def _told(
    tokenizer: Tokenizer, token: int, logprob: float, top: tuple[TokenLogprob, ...] = ()
) -> TokenLogprob:
    text = tokenizer.decode([token], skip_special_tokens=False)
    return TokenLogprob(token, text, _bytes(tokenizer, token, text), logprob, top)


def _bytes(tokenizer: Tokenizer, token: int, text: str) -> bytes:
    """The bytes of a token, also of one that is a part of a character.

    Byte-level vocabularies write each byte as a letter (GPT-2's `bytes_to_unicode`), those with
    byte fallback as `<0xE2>`.
    """
    if "\ufffd" not in text:
        return text.encode()
    piece: str = tokenizer.id_to_token(token) or ""
    if piece.startswith("<0x") and piece.endswith(">"):
        return bytes([int(piece[3:-1], 16)])
    letters = _byte_letters()
    if all(letter in letters for letter in piece):
        return bytes(letters[letter] for letter in piece)
    return text.encode()


@cache
def _byte_letters() -> dict[str, int]:
    """Radford et al. 2019: printable Latin-1 stands for itself, the other bytes follow 255."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {chr(byte): byte for byte in plain}
    return letters | {chr(256 + place): byte for place, byte in enumerate(others)}
