"""How long a run will take and how much disk, from what was measured before its start."""

from __future__ import annotations

import math
from dataclasses import dataclass

from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.evaluation.cadence import (
    CHECKPOINT_SECONDS,
    CHECKPOINT_SHARE,
    EvaluationTimes,
)
from phoundry.training.evaluation.questions import SCORED, SCORED_TOKENS, SHOWN_TOKENS, SPARE_TOKENS
from phoundry.training.planning.choices import Speed
from phoundry.training.planning.draft import Draft
from phoundry.training.planning.shape import ModelShape


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of each part of a run, and how often it writes a checkpoint. A run that stops early
    takes less."""

    start: float
    training: float
    evaluation: float
    checkpoints: float
    writes: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.start + self.training + self.evaluation + self.checkpoints


def estimate_duration(draft: Draft, parameters: FineTuneParameters, speed: Speed) -> Duration:
    """tokens ÷ speed + steps × optimizer + evaluations × (tokens ÷ speed + answers) + checkpoints.

    Checkpoints come at ends of epochs and twice a minute, or more rarely where they are slow.
    """
    training = draft.tokens / speed.tokens_per_second + draft.max_steps * speed.optimizer_seconds
    evaluation = 0.0
    if draft.validation is not None:
        times = EvaluationTimes.of(
            parameters, steps_per_epoch=draft.order.steps_per_epoch, max_steps=draft.max_steps
        )
        once = draft.validation.tokens / speed.evaluated_per_second
        if speed.generated_per_second:
            once += answered_tokens(draft, parameters) / speed.generated_per_second
        evaluation = once * (1 + times.left(0))
    write = checkpoint_bytes(draft.shape, parameters) / speed.written_per_second
    interval = max(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * write)
    writes = draft.epochs + (training + evaluation) / interval
    return Duration(speed.start_seconds, training, evaluation, writes * write, writes)


def asked_questions(draft: Draft, parameters: FineTuneParameters) -> int:
    """Questions that the model is asked at each evaluation."""
    if draft.validation is None:
        return 0
    scored = 0 if parameters.metric_for_best_model == "loss" else SCORED
    return min(max(parameters.sample_generations, scored), len(draft.validation))


def answered_tokens(draft: Draft, parameters: FineTuneParameters) -> float:
    """Tokens that the model is asked to say at each evaluation, at most."""
    held, count = draft.validation, asked_questions(draft, parameters)
    if held is None or parameters.metric_for_best_model == "loss":
        return count * SHOWN_TOKENS
    reference = held.supervised / len(held)
    return count * min(SCORED_TOKENS, reference + SPARE_TOKENS)


def checkpoint_bytes(shape: ModelShape, parameters: FineTuneParameters) -> int:
    """Of one checkpoint: float32 masters and the optimizer's state, nearly all of it tensors.

    AdamW keeps two moments as large as the weights, Adafactor a row and a column of each matrix.
    """
    trained = trained_weights(shape, parameters)
    return trained * (12 if parameters.optim == "adamw_torch" else 4)


def trained_weights(shape: ModelShape, parameters: FineTuneParameters) -> int:
    """Number of weights that get a gradient."""
    return shape.adapter_weights(parameters.lora_r) if parameters.apply_lora else shape.weights


def estimate_disk(draft: Draft, parameters: FineTuneParameters, writes: float) -> int:
    """Most bytes that the run's folder will hold at one time: checkpoints and output.

    Args:
        writes: how many checkpoints the run writes, one after the other.
    """
    standing = math.ceil(min(writes, _standing(draft, parameters)))
    width = 2 if parameters.precision == "16" else 4
    output = trained_weights(draft.shape, parameters) * width
    return standing * checkpoint_bytes(draft.shape, parameters) + output


def _standing(draft: Draft, parameters: FineTuneParameters) -> int:
    """Checkpoints that may stand together: those of earlier ends of epochs that save_total_limit
    keeps (-1: all), the newest two, the best where it is none of these, and the one that is being
    written."""
    limit = parameters.save_total_limit
    ends = max(0, math.ceil(draft.epochs) - 1)
    kept = ends if limit < 0 else min(ends, max(0, limit - 1))
    by_epoch = parameters.evaluation_strategy == "epoch"
    best = 0 if draft.validation is None or (by_epoch and kept == ends) else 1
    return kept + (1 if limit == 1 else 2) + best + 1
