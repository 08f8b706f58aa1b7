"""Every training parameter: its default, its range and what it does.

The one place: `phoundry train --help`, the reference of files and the editors' schema are made of
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, cast

from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from phoundry.specs.base import Spec
from phoundry.specs.finetune.spellings import spelt

Truncation = Literal["drop_turns", "truncate", "error"]
# Azure's, for what one process of one machine has no use; taken so that files need not be changed.
NO_EFFECT: Mapping[str, str] = {
    "apply_deepspeed": "DeepSpeed divides a model among GPUs",
    "deepspeed_stage": "DeepSpeed divides a model among GPUs",
    "apply_ort": "there is no ONNX Runtime training",
    "eval_accumulation_steps": "evaluation keeps sums, no predictions",
    "ignore_mismatched_sizes": "a checkpoint of other sizes is always refused",
}

_NOT_ZERO: dict[str, JsonValue] = {"not": {"const": 0}}


class FineTuneParameters(Spec):
    """Every parameter with its default. Lengths are in tokens."""

    # No number is NaN or infinite.
    model_config = ConfigDict(allow_inf_nan=False)

    # LoRA
    apply_lora: bool = Field(
        default=False, description="Train small adapters instead of every weight"
    )
    merge_lora_weights: bool = Field(
        default=True, description="Azure's name; registration always merges"
    )
    lora_alpha: int = Field(
        default=128, gt=0, description="Adapters are scaled by lora_alpha / lora_r"
    )
    lora_r: int = Field(default=8, gt=0, description="Rank of the adapters")
    lora_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the adapters' input that is dropped in training",
    )
    # Training
    num_train_epochs: float = Field(
        default=1, gt=0, description="Times that every conversation is seen"
    )
    max_steps: int = Field(
        default=-1,
        ge=-1,
        description="Optimizer steps; -1: by the epochs",
        json_schema_extra=_NOT_ZERO,
    )
    per_device_train_batch_size: int = Field(
        default=1, gt=0, description="Packs (or, unpacked, conversations) in a forward pass"
    )
    per_device_eval_batch_size: int = Field(default=1, gt=0, description="The same in evaluation")
    optim: Literal["adamw_torch", "adafactor"] = Field(
        default="adamw_torch", description="adafactor needs less memory for full fine-tuning"
    )
    learning_rate: float = Field(
        default=2e-5, gt=0, description="At its highest, after the warm-up"
    )
    warmup_steps: int = Field(
        default=0, ge=0, description="Steps in which the learning rate rises from 0"
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        description="Share of a weight that a step takes off, times the learning rate",
    )
    adam_beta1: float = Field(default=0.9, ge=0, lt=1, description="Memory of the mean gradient")
    adam_beta2: float = Field(
        default=0.999, ge=0, lt=1, description="Memory of the squared gradient"
    )
    adam_epsilon: float = Field(
        default=1e-8, gt=0, description="Added to the denominator of a step"
    )
    auto_find_batch_size: bool = Field(
        default=False,
        description="Let the plan halve the batch, and double the accumulation, until it fits",
    )
    gradient_accumulation_steps: int = Field(
        default=1, gt=0, description="Forward passes in an optimizer step"
    )
    lr_scheduler_type: Literal[
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"
    ] = Field(default="linear", description="How the learning rate falls")
    precision: Literal["32", "16"] = Field(
        default="32", description="16 is bfloat16 weights, never float16"
    )
    seed: int = Field(
        default=42, ge=0, lt=2**32, description="Of the order, of adapters and dropout"
    )
    enable_full_determinism: bool = Field(
        default=False, description="Only operations that give the same bits again"
    )
    max_grad_norm: float = Field(default=1.0, ge=0, description="0: no clipping")
    max_seq_length: int = Field(
        default=-1,
        ge=-1,
        description="-1: what the model takes",
        json_schema_extra=_NOT_ZERO,
    )
    truncation: Truncation = Field(
        default="drop_turns", description="What is done with a conversation over max_seq_length"
    )
    pad_to_max_length: bool = Field(
        default=False, description="Azure's name; padding is never learnt from, so none is made"
    )
    dataloader_num_workers: int = Field(
        default=0, ge=0, description="Processes that tokenise; 0: one a core"
    )
    gradient_checkpointing: Literal["auto", "true", "false"] = Field(
        default="auto",
        description="Compute a layer again instead of keeping it; auto: only if memory is short",
    )
    # Evaluation, logging, saving
    evaluation_strategy: Literal["epoch", "steps", "disable"] = Field(
        default="epoch", description="When the held-out conversations are looked at"
    )
    eval_steps: int = Field(
        default=500, gt=0, description="Steps between evaluations with evaluation_strategy=steps"
    )
    evaluation_steps_interval: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="With evaluation_strategy=steps: share of an epoch instead of eval_steps",
    )
    metric_for_best_model: Literal["loss", "f1", "exact"] = Field(
        default="loss", description="What the best checkpoint is chosen by"
    )
    apply_early_stopping: bool = Field(
        default=False, description="End when the metric has stopped getting better"
    )
    early_stopping_patience: int = Field(
        default=1, gt=0, description="Evaluations without a better metric before the end"
    )
    early_stopping_threshold: float = Field(
        default=0.0, ge=0, description="How much better is better"
    )
    load_best_model_at_end: bool = Field(
        default=False,
        description="The output is the best evaluated checkpoint; so it is with early stopping",
    )
    sample_generations: int = Field(
        default=3, ge=0, description="Answers that each evaluation shows; 0: none"
    )
    logging_strategy: Literal["steps", "epoch"] = Field(
        default="steps", description="When the curves get an entry"
    )
    logging_steps: int = Field(
        default=10, gt=0, description="Steps between two entries of the curves"
    )
    save_total_limit: int = Field(
        default=-1,
        ge=-1,
        description="Checkpoints at ends of epochs that are kept, beside the best; -1: all",
        json_schema_extra=_NOT_ZERO,
    )
    resume_from_checkpoint: bool = Field(
        default=True,
        description="Go on from the last checkpoint of a run that was killed or paused",
    )
    # Phoundry's own
    packing: bool = Field(default=True, description="Conversations share a pack, never attention")
    pack_length: int = Field(default=1024, gt=0, description="Tokens of a pack")
    # Azure's, without effect here (NO_EFFECT)
    apply_deepspeed: bool = Field(default=False, description="Azure's name; no effect here")
    deepspeed_stage: Literal["2", "3"] = Field(
        default="2", description="Azure's name; no effect here"
    )
    apply_ort: bool = Field(default=False, description="Azure's name; no effect here")
    eval_accumulation_steps: int = Field(
        default=-1, ge=-1, description="Azure's name; no effect here"
    )
    ignore_mismatched_sizes: bool = Field(default=False, description="Azure's name; no effect here")

    @model_validator(mode="before")
    @classmethod
    def _other_spellings(cls, values: Any) -> Any:
        return spelt(cast(dict[str, Any], values)) if isinstance(values, dict) else values

    @field_validator("max_steps", "max_seq_length", "save_total_limit")
    @classmethod
    def _not_zero(cls, value: int) -> int:
        if value == 0:
            raise ValueError("Input should be -1 (no limit), or at least 1")
        return value

    def steps(self, per_epoch: int) -> int:
        """Optimizer steps of the whole run: a last epoch that is begun is rounded up to a whole
        step, as transformers does."""
        if self.max_steps > 0:
            return self.max_steps
        # What floats add beyond the sixth place is no step.
        return max(1, math.ceil(round(per_epoch * self.num_train_epochs, 6)))
