"""Held-out conversations as questions to the model: what it is asked, and what it should say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from phoundry.data.tokenizer import ChatTokenizer
from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.examples import Sample

# Conversations that f1 and exact are taken of: each costs an answer, token by token.
SCORED = 32
# Tokens of an answer that is only shown; and of one that is scored, beyond those of its reference.
SHOWN_TOKENS, SCORED_TOKENS, SPARE_TOKENS = 64, 256, 32
# Questions that are answered together: a token of each for hardly more than one of one. Their keys
# and values lie in memory meanwhile.
TOGETHER = 8
_ROLES = {"system", "user", "assistant", "model", "tool"}


class Answering(Protocol):
    """A model that answers greedily (`TunedModel.generate`)."""

    def generate(
        self, prompts: list[list[int]], *, max_new_tokens: list[int], stop: Collection[int]
    ) -> list[list[int]]: ...


@dataclass(frozen=True, slots=True)
class Question:
    """The last answer of a conversation that is to be learnt, and all before it."""

    prompt_ids: list[int]
    max_new_tokens: int
    prompt: str  # the last turn before the answer, for people
    reference: str


class Questions:
    """The first conversations of a validation set: as many as are shown or scored.

    Args:
        samples: the validation set, in its order.
        checkpoint_dir: of the tokenizer.
        context: tokens that the model takes; a question that leaves no room is passed over.
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        checkpoint_dir: Path,
        parameters: FineTuneParameters,
        *,
        context: int,
    ) -> None:
        self.shown = parameters.sample_generations
        self.scored = SCORED if parameters.metric_for_best_model != "loss" else 0
        self._tokenizer = ChatTokenizer.load(checkpoint_dir)
        self._stop = frozenset(self._tokenizer.end_token_ids)
        self.asked: list[Question] = []
        wanted = max(self.shown, self.scored)
        for sample in samples:
            if len(self.asked) >= wanted:
                break
            question = self._question(sample, context)
            if question is not None:
                self.asked.append(question)
        self.scored = min(self.scored, len(self.asked))

    def groups(self) -> Iterator[list[Question]]:
        """All of them, as many at once as are answered together."""
        for start in range(0, len(self.asked), TOGETHER):
            yield self.asked[start : start + TOGETHER]

    def answer(self, model: Answering, group: Sequence[Question]) -> list[tuple[str, bool]]:
        """The model's answers, and of each whether it came to its own end."""
        limits = [question.max_new_tokens for question in group]
        prompts = [question.prompt_ids for question in group]
        told = model.generate(prompts, max_new_tokens=limits, stop=self._stop)
        return [
            (self._tokenizer.decode(ids).strip(), len(ids) < most)
            for ids, most in zip(told, limits, strict=True)
        ]

    def _question(self, sample: Sample, context: int) -> Question | None:
        end = len(sample.supervised)
        while end and not sample.supervised[end - 1]:
            end -= 1
        start = end
        while start and sample.supervised[start - 1]:
            start -= 1
        prompt, reference = list(sample.token_ids[:start]), list(sample.token_ids[start:end])
        most = SHOWN_TOKENS
        if self.scored:
            most = min(SCORED_TOKENS, len(reference) + SPARE_TOKENS)
        most = min(most, context - len(prompt))
        if not prompt or not reference or most < 1:
            return None
        return Question(
            prompt, most, self._last_turn(prompt), self._tokenizer.decode(reference).strip()
        )

    def _last_turn(self, prompt_ids: list[int]) -> str:
        """The text between the prompt's last control tokens, without a role's name before it."""
        pieces: list[list[int]] = [[]]
        for token in prompt_ids:
            if token in self._tokenizer.special_ids:
                pieces.append([])
            else:
                pieces[-1].append(token)
        for piece in reversed(pieces):
            text = self._tokenizer.decode(piece).strip()
            role, _, rest = text.partition("\n")
            said = rest.strip() if role in _ROLES else text
            if said:
                return said
        return self._tokenizer.decode(prompt_ids).strip()
