"""The two sides of `gpu.py`, each in a process: `python -m benchmarks.train.gpu_sides JOB_JSON`.

Ours drives the library that the worker drives: the same model, loss and optimizer, a row a step.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

LEARNING_RATE = 1e-4


class Steps:
    """When each step ended, on a device that has done its work by then."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.ends: list[float] = []

    def ended(self) -> None:
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    def seconds(self, warm: int) -> float:
        """From the end of the last step of the warm-up to the end of the last step."""
        return self.ends[-1] - self.ends[warm - 1]


def ours(job: dict[str, Any], rows: list[list[dict[str, Any]]]) -> Steps:
    import torch

    from phoundry.specs.finetune import FineTuneParameters
    from phoundry.training.batch import make_row
    from phoundry.training.examples import Sample
    from phoundry.training.model import TunedModel
    from phoundry.training.optimizer import MasterOptimizer

    parameters = FineTuneParameters(
        apply_lora=True, lora_r=job["rank"], lora_alpha=2 * job["rank"], precision="16"
    )
    torch.manual_seed(0)
    model = TunedModel(Path(job["checkpoint"]), parameters, device=torch.device(job["device"]))
    optimizer = MasterOptimizer(model.trainable(), parameters)
    model.train()
    steps = Steps(job["device"])
    for conversations in rows:
        samples = [Sample(c["ids"], [bool(m) for m in c["supervised"]]) for c in conversations]
        row = make_row(samples, share=False)
        torch.autograd.backward(model.loss_sum(row) / len(row.targets))
        optimizer.collect()
        optimizer.step(LEARNING_RATE)
        steps.ended()
    return steps


def trl(job: dict[str, Any], rows: list[list[dict[str, Any]]]) -> Steps:
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_CACHE=str(Path(job["output"]) / "cache"))
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback

    peer: Any = importlib.import_module("trl")
    steps = Steps(job["device"])

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            steps.ended()

    rank = job["rank"]
    made = peer.SFTTrainer(
        model=job["checkpoint"],
        args=peer.SFTConfig(**trl_settings(job)),
        train_dataset=Dataset.from_list([labelled(c) for row in rows for c in row]),
        processing_class=unused_tokenizer(),
        peft_config=LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[Watch()],
    )
    made.train()
    return steps


def trl_settings(job: dict[str, Any]) -> dict[str, Any]:
    """What one sets for speed where memory is no concern; bf16 is its default."""
    return {
        "output_dir": job["output"],
        "packing": True,
        "max_length": job["row_tokens"],
        "per_device_train_batch_size": 1,
        "num_train_epochs": 1,
        "learning_rate": LEARNING_RATE,
        "gradient_checkpointing": False,
        "use_liger_kernel": job["device"] == "cuda",
        "use_cpu": job["device"] == "cpu",
        "model_init_kwargs": {"dtype": "bfloat16"},
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def labelled(conversation: dict[str, Any]) -> dict[str, list[int]]:
    """A conversation as TRL takes it when the ids are there already."""
    ids, marks = conversation["ids"], conversation["supervised"]
    labels = [token if mark else -100 for token, mark in zip(ids, marks, strict=True)]
    return {"input_ids": ids, "labels": labels}


def unused_tokenizer() -> Any:
    """TRL asks for one, for its padding token alone: the ids are there already."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<pad>": 0}, "<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>")


def peak_bytes(device: str) -> int:
    """Most memory that was in use: the GPU's, or resident where there is none."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    from phoundry.training.machine import peak_memory

    return peak_memory()


def main(path: Path) -> None:
    job = json.loads(path.read_text())
    rows = json.loads(Path(job["rows"]).read_text())
    steps = (ours if job["side"] == "ours" else trl)(job, rows)
    if len(steps.ends) != len(rows):
        sys.exit(f"{len(rows)} steps were asked for, {len(steps.ends)} were made.")
    result = {
        "seconds": steps.seconds(job["warm"]),
        "tokens": (len(rows) - job["warm"]) * job["row_tokens"],
        "peak_bytes": peak_bytes(job["device"]),
    }
    (Path(job["output"]) / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
