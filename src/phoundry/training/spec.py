"""What training takes and gives, free of torch, so that a control plane may import it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from phoundry.specs.finetune import FineTuneParameters


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """One fine-tune. Data files hold `{"messages": [...]}` lines that were checked before."""

    checkpoint_dir: Path  # the base model, Hugging Face layout
    train_path: Path
    parameters: FineTuneParameters
    output_dir: Path  # gets `adapter/` (LoRA) or `model/` (full)
    validation_path: Path | None = None
    sources: dict[str, str] = field(default_factory=dict[str, str])
    cache_dir: Path | None = None  # for what can be made again; None: nothing is kept
    memory_limit: int | None = None  # bytes; None: what the machine has free


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a fine-tune ended. Losses are means over supervised tokens, in nats."""

    steps: int
    train_loss: float  # of the last epoch
    eval_loss: float | None
    first_eval_loss: float | None  # of the base model, before the first step
    tokens: int  # trained on in all, prompts included
    seconds: float  # of this process; a resumed run counts from its resumption
    tokens_per_second: float  # of training alone, evaluation and checkpoints left out
    peak_memory: int  # bytes of resident memory
    output: Path

    def metrics(self) -> dict[str, float]:
        """The numbers of the result by name."""
        values = {
            "train_loss": self.train_loss,
            "eval_loss": self.eval_loss,
            "first_eval_loss": self.first_eval_loss,
            "steps": self.steps,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second,
            "peak_memory": self.peak_memory,
        }
        return {name: float(value) for name, value in values.items() if value is not None}


class Reporter(Protocol):
    """Where a running fine-tune says what happens. `Spool.append` is one; see docs/design."""

    def event(self, kind: str, **data: Any) -> None:
        """`started`, `progress`, `evaluated`, `checkpoint` or `notice`, with its fields."""
        ...

    def line(self, text: str) -> None:
        """One line for people."""
        ...
