"""What training takes and gives, free of torch, so that a control plane may import it."""

from __future__ import annotations

from collections.abc import Mapping
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

    @classmethod
    def from_json(
        cls, spec: Mapping[str, Any], output_dir: Path, *, memory_limit: int | None = None
    ) -> TrainingSpec:
        """From a worker's spec.json.

        Raises:
            pydantic.ValidationError: its parameters are none.
        """
        validation, cache = spec.get("validation_path"), spec.get("cache_dir")
        return cls(
            checkpoint_dir=Path(spec["checkpoint_dir"]),
            train_path=Path(spec["train_path"]),
            validation_path=Path(validation) if validation else None,
            parameters=FineTuneParameters.model_validate(spec["parameters"]),
            output_dir=output_dir,
            sources=spec.get("sources") or {},
            cache_dir=Path(cache) if cache else None,
            memory_limit=memory_limit,
        )


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a fine-tune ended. Losses are means over supervised tokens, in nats.

    `evaluation` is of the state that was put out, as far as that was evaluated: `eval_loss`,
    `eval_token_accuracy` and, where they were taken, `eval_f1` and `eval_exact`; `first_evaluation`
    is of the base model, before the first step.
    """

    steps: int
    train_loss: float  # of the last epoch
    evaluation: dict[str, float]
    first_evaluation: dict[str, float]
    tokens: int  # trained on in all, prompts included
    seconds: float  # of this process; a resumed run counts from its resumption
    tokens_per_second: float  # of training alone, evaluation and checkpoints left out
    mfu: float | None  # share of the machine's best matrix product rate
    peak_memory: int  # bytes of resident memory
    output: Path
    output_step: int  # the step whose state was put out
    best_step: int | None
    best_metric: float | None
    cancelled: bool = False  # before its end; the output is of the best state so far

    @property
    def eval_loss(self) -> float | None:
        return self.evaluation.get("eval_loss")

    @property
    def first_eval_loss(self) -> float | None:
        return self.first_evaluation.get("eval_loss")

    def metrics(self) -> dict[str, float]:
        """The numbers of the result by name."""
        values = {
            "train_loss": self.train_loss,
            **self.evaluation,
            **{f"first_{name}": value for name, value in self.first_evaluation.items()},
            "steps": self.steps,
            "output_step": self.output_step,
            "best_step": self.best_step,
            "best_metric": self.best_metric,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second,
            "mfu": self.mfu,
            "peak_memory": self.peak_memory,
        }
        return {name: float(value) for name, value in values.items() if value is not None}


class Reporter(Protocol):
    """Where a running fine-tune says what happens. `Spool.append` is one; see docs/design."""

    def event(self, kind: str, **data: Any) -> None:
        """`started`, `progress`, `evaluated`, `sample`, `checkpoint`, `choice`, `stopped_early` or
        `notice`, with its fields."""
        ...

    def line(self, text: str) -> None:
        """One line for people."""
        ...
