"""Several conversations that are gone on with together, a token each at a step.

A token alone costs as much as all weights take to be read; a few at once cost hardly more.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from phoundry.training.decoder.stack import Cached, Decoder


class Together:
    """Conversations of different lengths, each with its own place.

    Keys and values of a layer lie in one block, (conversations, keys, room, width), of which each
    conversation has written as much as it is long.

    Args:
        prompts: the tokens of each so far, at least one.
        room: tokens that the longest may come to.
    """

    def __init__(self, decoder: Decoder, prompts: Sequence[Sequence[int]], room: int) -> None:
        self._decoder, self.lengths = decoder, [len(prompt) for prompt in prompts]
        self._blocks: list[Cached] = []
        firsts: list[Tensor] = []
        for row, prompt in enumerate(prompts):
            ids = torch.tensor(prompt, device=decoder.embedding.device)
            logits, past = decoder.read(ids)
            firsts.append(logits.argmax())
            self._keep(past, row, room)
        self.following: list[int] = torch.stack(firsts).tolist()

    def step(self) -> None:
        """Take in the token that follows each, and find the next: `following`."""
        at = self.lengths
        self.lengths = [length + 1 for length in at]
        ids = torch.tensor(self.following, device=self._decoder.embedding.device)
        self.following = self._decoder.step(ids, at, self._blocks).argmax(1).tolist()

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these alone, in this order."""
        kept = torch.tensor(rows, device=self._decoder.embedding.device)
        self._blocks = [(keys[kept], values[kept]) for keys, values in self._blocks]
        self.lengths = [self.lengths[row] for row in rows]
        self.following = [self.following[row] for row in rows]

    def _keep(self, past: list[Cached], row: int, room: int) -> None:
        if not self._blocks:
            count = len(self.lengths)
            # Zeros: what is not written yet is masked, and must not be NaN.
            self._blocks = [
                (
                    keys.new_zeros(count, keys.shape[0], room, keys.shape[2]),
                    values.new_zeros(count, values.shape[0], room, values.shape[2]),
                )
                for keys, values in past
            ]
        for (keys, values), (own_keys, own_values) in zip(self._blocks, past, strict=True):
            keys[row, :, : own_keys.shape[1]] = own_keys
            values[row, :, : own_values.shape[1]] = own_values


@torch.no_grad()
def answers(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    most: Sequence[int],
    stop: frozenset[int],
) -> list[list[int]]:
    """The likeliest answers, each without the token of `stop` that ends it.

    Args:
        most: tokens that each answer may have, at least one.
    """
    room = max(len(prompt) + tokens for prompt, tokens in zip(prompts, most, strict=True))
    together = Together(decoder, prompts, room)
    found: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    while True:
        going: list[int] = []
        for place, (row, token) in enumerate(zip(rows, together.following, strict=True)):
            if token in stop:
                continue
            found[row].append(token)
            if len(found[row]) < most[row]:
                going.append(place)
        if not going:
            return found
        if len(going) < len(rows):
            together.keep(going)
            rows = [rows[place] for place in going]
        together.step()
