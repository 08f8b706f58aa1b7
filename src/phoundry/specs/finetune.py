"""Fine-tuning parameters, under the names and defaults of Azure ML's chat-completion fine-tune.

Azure writes booleans as the strings "true" and "false" and numbers as strings; both are accepted
(pydantic's lax mode). `resolve` says of every value where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from pydantic import Field, ValidationError, model_validator

from phoundry.errors import Fault, InvalidInput, nearest
from phoundry.specs.base import Spec

Source = Literal["user", "model", "machine", "measured", "default"]
Truncation = Literal["drop_turns", "truncate", "error"]


class FineTuneParameters(Spec):
    """Every parameter with its default. Lengths are in tokens."""

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
    max_steps: int = Field(default=-1, ge=-1, description="Optimizer steps; -1: by the epochs")
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
    seed: int = Field(default=42, description="Of the order, of adapters and dropout")
    enable_full_determinism: bool = Field(
        default=False, description="Only operations that give the same bits again"
    )
    max_grad_norm: float = Field(default=1.0, ge=0, description="0: no clipping")
    max_seq_length: int = Field(default=-1, ge=-1, description="-1: what the model takes")
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
        default=-1, ge=-1, description="Checkpoints that are kept; -1: all"
    )
    resume_from_checkpoint: bool = Field(
        default=True, description="Go on from a killed run's last checkpoint"
    )
    # Phoundry's own
    packing: bool = Field(default=True, description="Conversations share a pack, never attention")
    pack_length: int = Field(default=1024, gt=0, description="Tokens of a pack")

    @model_validator(mode="before")
    @classmethod
    def _numbers_as_precision(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = cast(dict[str, Any], values)
        if isinstance(given.get("precision"), int):
            return {**given, "precision": str(given["precision"])}
        return given


def resolve(
    user: Mapping[str, Any],
    *,
    model: Mapping[str, Any] | None = None,
    machine: Mapping[str, Any] | None = None,
    where: str = "--set",
) -> tuple[FineTuneParameters, dict[str, Source]]:
    """Parameters and, for each, the source that won: user over machine over model over default.

    Raises:
        InvalidInput: with one fault for each unknown name and each bad value, all together.
    """
    layers: list[tuple[Source, Mapping[str, Any]]] = [
        ("model", model or {}),
        ("machine", machine or {}),
        ("user", user),
    ]
    merged: dict[str, Any] = {}
    sources: dict[str, Source] = dict.fromkeys(FineTuneParameters.model_fields, "default")
    for source, values in layers:
        merged.update(values)
        sources.update({name: source for name in values if name in sources})
    try:
        return FineTuneParameters.model_validate(merged), sources
    except ValidationError as error:
        raise InvalidInput(
            "The training parameters are not usable.",
            faults=[_fault(where, detail) for detail in error.errors()],
            remedy="See `phoundry train --help` for every parameter and its range.",
        ) from None


def _fault(where: str, detail: Any) -> Fault:
    name = ".".join(str(part) for part in detail["loc"]) or "parameters"
    if detail["type"] == "extra_forbidden":
        near = nearest(name, FineTuneParameters.model_fields)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        return Fault(f"{where} {name}", f"unknown parameter{hint}")
    return Fault(f"{where} {name}", f"{detail['msg']}, found {detail['input']!r}")
