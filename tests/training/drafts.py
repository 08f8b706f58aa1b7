"""What the tests of planning share: specs of fine-tunes of tiny models, and drafts of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.spec import TrainingSpec

LORA: dict[str, Any] = {
    "apply_lora": True,
    "lora_r": 4,
    "lora_alpha": 16,
    "learning_rate": 1e-2,
    "pack_length": 64,
    "gradient_accumulation_steps": 4,
    "num_train_epochs": 2,
}


def make_spec(
    checkpoint: Path,
    train: Path,
    folder: Path,
    *,
    validation: Path | None = None,
    memory: int | None = None,
    sources: Mapping[str, str] | None = None,
    **values: Any,
) -> TrainingSpec:
    """LoRA over packs of 64 tokens, four a step, with `values` changed."""
    return TrainingSpec(
        checkpoint_dir=checkpoint,
        train_path=train,
        validation_path=validation,
        parameters=FineTuneParameters.model_validate({**LORA, **values}),
        output_dir=folder / "output",
        sources=dict(sources or {}),
        memory_limit=memory,
    )
