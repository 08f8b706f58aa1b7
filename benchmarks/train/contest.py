"""Who takes part, with what settings.

What every contestant is given: LoRA r=16, alpha 32, no dropout, on all linear layers; AdamW with
its usual betas, no weight decay, gradients clipped at 1; cosine from LEARNING_RATE to 0 with no
warm-up; one epoch; loss on what the assistant says alone, its end token included. Each round has
a seed of its own, the same for all: order and first adapters are a draw, and a loss after few steps
depends on it.

TRL's defaults (1.16) are: batches of 8 conversations padded to the longest, `packing=False`,
float32 weights under bfloat16 autocast (`bf16=True`), activations computed again in the backward
pass (`gradient_checkpointing=True`), fused AdamW, and the vocabulary's projection in pieces.
`assistant_only_loss` is off by default; it is on here, since another objective would be another
task. The three peers are

    trl_default   all of that as it is
    trl_packed    packing=True, one pack a step. Its packs hold what 8 conversations do, so that the
                  steps agree; its default batch of 8 packs would be one row of 8 times the length,
                  whose dense mask costs a processor 64 times as much
    trl_tuned     packed, with bfloat16 weights and without computing activations again: what one
                  who knows TRL would set on a machine with memory to spare

Ours is the worker that the control plane starts, `python -m phoundry.training RUN_DIR`, with packs
of the same length. It sets its own threads to sleep after a while of waiting; TRL's spin, as torch
does by default. On an idle machine that makes no difference, on a busy one it does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LORA_RANK, LORA_ALPHA = 16, 32
LEARNING_RATE = 1e-3
SEED = 42
CONVERSATIONS_A_STEP = 8  # TRL's default batch
EVALUATE_EVERY = 2  # steps, in the first round

OURS = "ours"


@dataclass(frozen=True, slots=True)
class Peer:
    """A way of using TRL: what is set in its SFTConfig, and for loading the model."""

    name: str
    title: str
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    loading: dict[str, Any] = field(default_factory=dict[str, Any])


def peers(pack_length: int, *, bfloat16: bool) -> list[Peer]:
    """TRL's sides. On a processor without bfloat16 products all of them get float32."""
    precision: dict[str, Any] = {} if bfloat16 else {"bf16": False}
    packed = {"packing": True, "max_length": pack_length, "per_device_train_batch_size": 1}
    return [
        Peer("trl_default", "TRL, its defaults", precision),
        Peer("trl_packed", "TRL, packed", precision | packed),
        Peer(
            "trl_tuned",
            "TRL, packed and tuned",
            precision | packed | {"gradient_checkpointing": False},
            {"dtype": "bfloat16"} if bfloat16 else {},
        ),
    ]


def shared_settings(seed: int) -> dict[str, Any]:
    """The hyperparameters that all have, under SFTConfig's names."""
    return {
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "cosine",
        "num_train_epochs": 1,
        "seed": seed,
        "logging_steps": EVALUATE_EVERY,
        "use_cpu": True,  # without it TRL refuses its own default, bf16, where there is no GPU
    }


def shared_lora() -> dict[str, Any]:
    """The adapters that all have, under PEFT's names."""
    return {"r": LORA_RANK, "lora_alpha": LORA_ALPHA, "target_modules": "all-linear"}


def our_parameters(
    pack_length: int, *, bfloat16: bool, evaluate: bool, seed: int
) -> dict[str, Any]:
    """The same for the training worker, under Azure's names."""
    return {
        "apply_lora": True,
        "lora_r": LORA_RANK,
        "lora_alpha": LORA_ALPHA,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "cosine",
        "num_train_epochs": 1,
        "seed": seed,
        "precision": "16" if bfloat16 else "32",
        "pack_length": pack_length,
        "logging_steps": 1,
        "save_total_limit": 1,
        "evaluation_strategy": "steps" if evaluate else "disable",
        "eval_steps": EVALUATE_EVERY,
        "sample_generations": 0,
    }
