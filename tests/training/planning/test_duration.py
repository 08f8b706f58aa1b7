from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phoundry.training.model import TunedModel
from phoundry.training.optimizer import MasterOptimizer
from phoundry.training.planning.choices import Speed
from phoundry.training.planning.draft import Draft, make_draft
from phoundry.training.planning.duration import (
    answered_tokens,
    checkpoint_bytes,
    estimate_disk,
    estimate_duration,
)
from tests.training.conftest import CheckpointMaker
from tests.training.drafts import make_spec

SPEED = Speed(
    tokens_per_second=100,
    optimizer_seconds=0.5,
    evaluated_per_second=200,
    generated_per_second=10,
    written_per_second=1e6,
    start_seconds=3,
)


@pytest.fixture
def draft(
    checkpoint_maker: CheckpointMaker, messages_file: Callable[..., Path], tmp_path: Path
) -> Callable[..., Draft]:
    train, held = messages_file(40), messages_file(6, seed=1, name="held.jsonl")

    def make(*, with_validation: bool = True, **values: Any) -> Draft:
        validation = held if with_validation else None
        spec = make_spec(
            checkpoint_maker("llama"), train, tmp_path, validation=validation, **values
        )
        return make_draft(spec)

    return make


def test_the_parts_of_a_run_are_its_counts_over_its_speeds(draft: Callable[..., Draft]) -> None:
    made = draft(num_train_epochs=3, sample_generations=2)
    found = estimate_duration(made, made.parameters, SPEED)
    assert made.validation is not None
    assert found.start == 3
    assert found.training == pytest.approx(made.tokens / 100 + made.max_steps * 0.5)
    evaluations = 4  # before the first step and after each epoch
    once = made.validation.tokens / 200 + 2 * 64 / 10
    assert found.evaluation == pytest.approx(evaluations * once)
    assert found.checkpoints > 0
    assert found.seconds == pytest.approx(
        found.start + found.training + found.evaluation + found.checkpoints
    )


def test_checkpoints_take_no_more_than_their_share(draft: Callable[..., Draft]) -> None:
    """At most a twentieth, and one at the end of each epoch."""
    made = draft(num_train_epochs=1)
    slow = SPEED.model_copy(update={"written_per_second": 100.0})
    found = estimate_duration(made, made.parameters, slow)
    write = checkpoint_bytes(made.shape, made.parameters) / 100
    assert found.checkpoints <= write + (found.training + found.evaluation) / 20 + 1e-9


def test_nothing_held_out_is_never_evaluated(draft: Callable[..., Draft]) -> None:
    made = draft(with_validation=False)
    assert estimate_duration(made, made.parameters, SPEED).evaluation == 0
    assert answered_tokens(made, made.parameters) == 0


def test_scored_answers_take_the_whole_validation_set_up_to_a_limit(
    draft: Callable[..., Draft],
) -> None:
    made = draft(metric_for_best_model="f1")
    assert made.validation is not None
    reference = made.validation.supervised / 6
    assert answered_tokens(made, made.parameters) == pytest.approx(6 * (reference + 32))


@pytest.mark.parametrize("lora", [True, False])
def test_a_checkpoint_is_as_large_as_its_tensors(
    draft: Callable[..., Draft], checkpoint_maker: CheckpointMaker, lora: bool
) -> None:
    made = draft(apply_lora=lora)
    model = TunedModel(checkpoint_maker("llama"), made.parameters)
    optimizer = MasterOptimizer(model.trainable(), made.parameters)
    for weight in optimizer.masters.values():
        weight.grad = weight.detach().clone()
    optimizer.step(1e-3)
    tensors, _ = optimizer.state()
    held = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    assert checkpoint_bytes(made.shape, made.parameters) == pytest.approx(held, rel=0.02)


@pytest.mark.parametrize(
    ("limit", "strategy", "writes", "standing"),
    [
        (-1, "epoch", 9.0, 2 + 2 + 1),  # the best is one of those
        (-1, "steps", 9.0, 2 + 2 + 1 + 1),
        (1, "epoch", 9.0, 1 + 1 + 1),
        (2, "epoch", 9.0, 1 + 2 + 1 + 1),
        (-1, "epoch", 2.2, 3),  # more are not written
    ],
)
def test_disk_counts_the_checkpoints_that_may_stand_together(
    draft: Callable[..., Draft], limit: int, strategy: str, writes: float, standing: int
) -> None:
    made = draft(num_train_epochs=3, save_total_limit=limit, evaluation_strategy=strategy)
    each = checkpoint_bytes(made.shape, made.parameters)
    output = made.shape.adapter_weights(4) * 4
    assert estimate_disk(made, made.parameters, writes) == standing * each + output
