"""TRL's side, as its users write it: messages in, an adapter out.

    python -m benchmarks.train.peer JOB_JSON

The job names the files, the settings for SFTConfig and how often to evaluate. What is timed is
`trainer.train()` without the evaluations.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.train.run import Point, Run


def trainer(job: dict[str, Any]) -> Any:
    """TRL's trainer for a job."""
    from datasets import Dataset
    from peft import LoraConfig

    trl: Any = importlib.import_module("trl")
    transformers: Any = importlib.import_module("transformers")
    lines = Path(job["train"]).read_text(encoding="utf-8").splitlines()
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["checkpoint"])
    tokenizer.chat_template = job["template"]  # its own, with the assistant's part marked
    config = trl.SFTConfig(
        output_dir=job["output"],
        assistant_only_loss=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        model_init_kwargs=job["loading"],
        **job["settings"],
    )
    return trl.SFTTrainer(
        model=job["checkpoint"],
        args=config,
        train_dataset=Dataset.from_list([json.loads(line) for line in lines]),
        processing_class=tokenizer,
        peft_config=LoraConfig(task_type="CAUSAL_LM", **job["lora"]),
    )


class Stopwatch:
    """Seconds of training, with the evaluations taken out, and what they gave."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.held_out = json.loads(Path(job["held_out"]).read_text()) if job["held_out"] else None
        self.every = job["evaluate_every"]
        self.bfloat16 = job["settings"].get("bf16", True)
        self.curve: list[Point] = []
        self.apart = 0.0
        self.started = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self.started - self.apart

    def step_ended(self, model: Any, step: int, last: int) -> None:
        if self.held_out is None or (step % self.every and step != last):
            return
        import torch

        from benchmarks.train.judge import held_out_loss

        seconds = self.seconds()
        # In the precision that TRL trains in; what came out in the end is judged in float32.
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            loss = held_out_loss(model, self.held_out)
        self.curve.append(Point(seconds, step, loss))
        self.apart += self.seconds() - seconds


def watched(stopwatch: Stopwatch) -> Any:
    """A callback of transformers' trainer that evaluates after a step."""
    from transformers import TrainerCallback

    class Evaluate(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            stopwatch.step_ended(kwargs["model"], state.global_step, state.max_steps)

    return Evaluate()


def run(job: dict[str, Any]) -> Run:
    made = trainer(job)
    rows = made.train_dataset
    tokens = sum(len(ids) for ids in rows["input_ids"])
    # The first token of a conversation is never predicted, and never supervised here.
    supervised = sum(label != -100 for labels in rows["labels"] for label in labels)
    stopwatch = Stopwatch(job)
    made.add_callback(watched(stopwatch))
    stopwatch.started = time.monotonic()
    made.train()
    seconds = stopwatch.seconds()
    adapter = Path(job["output"]) / "adapter"
    made.model.save_pretrained(str(adapter), save_embedding_layers=False)
    return Run(
        contestant=job["name"],
        tokens=tokens,
        supervised=supervised,
        steps=made.state.global_step,
        seconds=seconds,
        adapter=str(adapter),
        curve=stopwatch.curve,
    )


if __name__ == "__main__":
    task = json.loads(Path(sys.argv[1]).read_text())
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_CACHE=str(Path(task["output"]) / "cache"))
    run(task).write(Path(task["result"]))
