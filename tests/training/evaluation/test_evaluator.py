"""Loss and token accuracy against transformers, answers against what a model is made to say."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from phoundry.data.tokenizer import ChatTokenizer
from phoundry.errors import Cancelled
from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.batch import Row, make_row
from phoundry.training.evaluation.evaluator import Evaluator
from phoundry.training.evaluation.questions import SHOWN_TOKENS, SPARE_TOKENS, Questions
from phoundry.training.examples import Sample, read_samples
from phoundry.training.interrupt import StopSwitch
from phoundry.training.model import TunedModel
from tests.training.conftest import CheckpointMaker

MessagesFile = Callable[..., Path]


@dataclass
class _Measure:
    loss_sum: float
    correct: int
    targets: int


class _Parrot:
    """Says what it is told to, and records how it is used."""

    def __init__(self, says: Callable[[list[int]], list[int]]) -> None:
        self.says = says
        self.modes: list[bool] = []

    def measure(self, row: Row) -> _Measure:
        return _Measure(2.0 * len(row.targets), len(row.targets) // 2, len(row.targets))

    def generate(
        self, prompts: list[list[int]], *, max_new_tokens: list[int], stop: Collection[int]
    ) -> list[list[int]]:
        pairs = zip(prompts, max_new_tokens, strict=True)
        return [self.says(prompt)[:most] for prompt, most in pairs]

    def train(self, mode: bool = True) -> None:
        self.modes.append(mode)


def test_loss_and_token_accuracy_are_those_of_transformers(
    checkpoint_maker: CheckpointMaker, samples: list[Sample]
) -> None:
    checkpoint = checkpoint_maker("llama")
    reference: Any = AutoModelForCausalLM.from_pretrained(checkpoint)
    losses: list[float] = []
    hits: list[bool] = []
    for sample in samples:
        with torch.no_grad():
            logits = reference(torch.tensor([sample.token_ids])).logits[0]
        for place in range(1, len(sample.token_ids)):
            if sample.supervised[place]:
                target = sample.token_ids[place]
                losses.append(float(-logits[place - 1].log_softmax(-1)[target]))
                hits.append(int(logits[place - 1].argmax()) == target)
    model = TunedModel(checkpoint, FineTuneParameters())
    rows = [make_row(samples[:2]), make_row(samples[2:])]
    found = Evaluator(model, rows, None, StopSwitch()).run(3)
    assert found.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert found.token_accuracy == sum(hits) / len(hits)
    assert (found.f1, found.exact, found.samples) == (None, None, [])


def _questions(
    checkpoint: Path, data: Path, tmp_path: Path, **values: Any
) -> tuple[Questions, list[Sample]]:
    held = read_samples(data, checkpoint, longest=500, cache_dir=tmp_path / "cache")
    parameters = FineTuneParameters.model_validate(values)
    return Questions(held, checkpoint, parameters, context=512), list(held)


@pytest.mark.parametrize("kind", ["llama", "phi3"])  # ChatML's template and Phi-3's
def test_a_question_is_the_prompt_that_a_replica_would_send(
    kind: str, checkpoint_maker: CheckpointMaker, messages_file: MessagesFile, tmp_path: Path
) -> None:
    checkpoint = checkpoint_maker(kind)
    data = messages_file(5, seed=5, name="validation.jsonl")
    questions, _ = _questions(checkpoint, data, tmp_path, sample_generations=2)
    tokenizer = ChatTokenizer.load(checkpoint)
    assert len(questions.asked) == 2
    for line, question in zip(data.read_text().splitlines(), questions.asked, strict=False):
        asked, told = json.loads(line)["messages"]
        assert question.prompt_ids == tokenizer.render_prompt([asked])
        assert question.prompt == asked["content"]
        assert question.reference == told["content"]
        assert question.max_new_tokens == SHOWN_TOKENS


def test_scores_are_of_the_answers_and_samples_of_the_first_ones(
    checkpoint_maker: CheckpointMaker, messages_file: MessagesFile, tmp_path: Path
) -> None:
    """The first of four is answered as it should be, the others with nothing."""
    checkpoint = checkpoint_maker("llama")
    data = messages_file(4, seed=5, name="validation.jsonl")
    questions, held = _questions(
        checkpoint, data, tmp_path, sample_generations=2, metric_for_best_model="exact"
    )
    first = questions.asked[0]
    reference = ChatTokenizer.load(checkpoint).encode(first.reference)
    assert first.max_new_tokens <= len(held[0].token_ids) + SPARE_TOKENS
    parrot = _Parrot(lambda prompt: reference if prompt == first.prompt_ids else [])
    found = Evaluator(parrot, [make_row(held)], questions, StopSwitch()).run(7)
    assert (found.f1, found.exact) == (0.25, 0.25)
    assert [sample.answer for sample in found.samples] == [first.reference, ""]
    assert {sample.step for sample in found.samples} == {7}
    assert found.metrics() == {
        "eval_loss": 2.0,
        "eval_token_accuracy": found.token_accuracy,
        "eval_f1": 0.25,
        "eval_exact": 0.25,
    }
    assert parrot.modes == [False, True]


def test_an_answer_that_was_cut_says_so(
    checkpoint_maker: CheckpointMaker, messages_file: MessagesFile, tmp_path: Path
) -> None:
    checkpoint = checkpoint_maker("llama")
    questions, held = _questions(
        checkpoint, messages_file(1, name="v.jsonl"), tmp_path, sample_generations=1
    )
    word = ChatTokenizer.load(checkpoint).encode("permit")
    parrot = _Parrot(lambda prompt: word * SHOWN_TOKENS)
    (sample,) = Evaluator(parrot, [make_row(held)], questions, StopSwitch()).run(1).samples
    assert sample.answer.endswith("permit …") or sample.answer.endswith(" …")


def test_it_can_be_left_between_any_two_rows(samples: list[Sample]) -> None:
    switch = StopSwitch()
    parrot = _Parrot(lambda prompt: [])
    rows = [make_row([sample]) for sample in samples]
    seen: list[int] = []
    measure = parrot.measure

    def press(row: Row) -> _Measure:
        seen.append(1)
        if len(seen) == 2:
            switch.press()
        return measure(row)

    parrot.measure = press  # type: ignore[method-assign]
    with pytest.raises(Cancelled):
        Evaluator(parrot, rows, None, switch).run(1)
    assert len(seen) == 2
    assert parrot.modes == [False, True]
