"""Phi-3-mini at full size with random weights, on a GPU, beside TRL with Liger in the same run.

    python -m benchmarks.train --gpu [--repeats N] [--tiny]

LoRA r=8 on all linear layers, bfloat16, rows of 4,096 tokens packed of eight conversations of 512,
half of each supervised. Random weights run as fast as trained ones. Both sides get the same token
ids; TRL is set for speed: bfloat16 weights, packing, nothing computed again, Liger's kernels for
norms, rotary embeddings and gates (its own projection on the vocabulary stays, as TRL wants it).
The first steps are not timed. Ends with one JSON line; `mfu` is against the best product measured
in the run. `--tiny` runs the same code on a small model wherever it is, without Liger, as a trial:
its figures mean nothing and its line says so.
"""

from __future__ import annotations

import json
import os
import random
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.train.ceiling import flops_per_token
from benchmarks.train.contest import OURS
from benchmarks.train.machine import describe
from benchmarks.train.material import TRL, install
from benchmarks.train.process import run_module
from benchmarks.train.sides import with_packages

LIGER = "liger-kernel==0.8.5"
PEER = "trl_liger"
# config.json of microsoft/Phi-3-mini-4k-instruct, without the names of its own code.
PHI3_MINI: dict[str, Any] = {
    "architectures": ["Phi3ForCausalLM"],
    "model_type": "phi3",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32064,
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": 4096,
    "sliding_window": 2047,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 32000,
    "pad_token_id": 32000,
    "torch_dtype": "bfloat16",
}
TINY = PHI3_MINI | {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


@dataclass(frozen=True, slots=True)
class Work:
    """What each side does: `steps` of one row, of which the first `warm` are not timed."""

    config: dict[str, Any]
    device: str
    conversations: int = 8
    length: int = 512
    rank: int = 8
    warm: int = 4
    steps: int = 20

    @property
    def row(self) -> int:
        """Tokens of a row."""
        return self.conversations * self.length


def chosen_work(*, tiny: bool, cuda: bool) -> Work:
    """What to do on this machine.

    Raises:
        ValueError: the full size was asked for and there is no GPU.
    """
    if tiny:
        return Work(TINY, "cuda" if cuda else "cpu", length=32, warm=1, steps=4)
    if not cuda:
        raise ValueError(
            "torch sees no CUDA GPU here, and Phi-3-mini at full size needs one (about 40 GB). "
            "Run it where there is one, or try the code with --tiny."
        )
    return Work(PHI3_MINI, "cuda")


def make_checkpoint(folder: Path, work: Work) -> Path:
    """Random weights as a Hugging Face folder, made once."""
    if (folder / "model.safetensors.index.json").exists() or (
        folder / "model.safetensors"
    ).exists():
        return folder
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    values = {k: v for k, v in work.config.items() if k not in ("model_type", "torch_dtype")}
    config: Any = AutoConfig.for_model(work.config["model_type"], **values)
    maker: Any = AutoModelForCausalLM
    with torch.device(work.device):
        model = maker.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    return folder


def make_rows(path: Path, work: Work) -> None:
    """Write `[[{"ids", "supervised"}, …], …]`: a list of conversations for each step."""
    draw = random.Random(0)
    size = work.config["vocab_size"]

    def conversation() -> dict[str, list[int]]:
        ids = [draw.randrange(3, size) for _ in range(work.length)]
        half = work.length // 2
        return {"ids": ids, "supervised": [0] * half + [1] * (work.length - half)}

    rows = [[conversation() for _ in range(work.conversations)] for _ in range(work.steps)]
    path.write_text(json.dumps(rows))


def compare(chosen: Any, cache: Path, folder: Path) -> None:
    """Both sides in turn, then the line.

    Raises:
        ValueError: there is no GPU.
        Failed: a side's process ended with an error.
    """
    import torch

    tiny: bool = chosen.tiny
    work = chosen_work(tiny=tiny, cuda=torch.cuda.is_available())
    machine = describe(TRL)
    if work.device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
    packages = install([TRL, LIGER] if work.device == "cuda" else [TRL], cache)
    checkpoint = make_checkpoint(cache / ("phi3-tiny" if tiny else "phi3-mini-random"), work)
    make_rows(folder / "rows.json", work)
    environ = with_packages(os.environ, packages)
    found: dict[str, list[dict[str, float]]] = {OURS: [], PEER: []}
    for number in range(chosen.repeats):
        for side, results in found.items():
            results.append(run_side(side, number, folder, checkpoint, work, environ))
            print(f"round {number + 1}  {side:10}{results[-1]}", flush=True)
    log = folder / "rates.txt"
    asked = [str(checkpoint), str(work.row), "bfloat16", work.device]
    run_module("benchmarks.train.ceiling", *asked, log=log, environ=os.environ)
    rates = json.loads(log.read_text().splitlines()[-1])
    print(json.dumps(summary(found, work, rates) | {"trial": tiny} | machine))


def run_side(
    side: str,
    number: int,
    folder: Path,
    checkpoint: Path,
    work: Work,
    environ: Mapping[str, str],
) -> dict[str, float]:
    """One side in a process of its own: `{"seconds", "tokens", "peak_bytes"}`."""
    here = folder / f"{number + 1}-{side}"
    here.mkdir()
    job = {
        "side": side,
        "checkpoint": str(checkpoint),
        "rows": str(folder / "rows.json"),
        "device": work.device,
        "rank": work.rank,
        "warm": work.warm,
        "row_tokens": work.row,
        "output": str(here),
    }
    (here / "job.json").write_text(json.dumps(job))
    run_module(
        "benchmarks.train.gpu_sides",
        str(here / "job.json"),
        log=here / "log.txt",
        environ=environ if side == PEER else os.environ,
    )
    return json.loads((here / "result.json").read_text())


def summary(
    found: Mapping[str, list[dict[str, float]]], work: Work, rates: Mapping[str, float]
) -> dict[str, Any]:
    """The last line: medians over the rounds."""
    speed = {
        side: statistics.median(r["tokens"] / r["seconds"] for r in results)
        for side, results in found.items()
    }
    peak = {side: max(r["peak_bytes"] for r in results) for side, results in found.items()}
    flops = flops_per_token(
        work.config, rank=work.rank, supervised_share=0.5, segment=float(work.length)
    )
    best = max(rates.values())
    return {
        "tokens_per_second": round(speed[OURS], 1),
        "ratio_trl_liger": round(speed[OURS] / speed[PEER], 2),
        "mfu": round(speed[OURS] * flops / best, 3),
        "mfu_trl_liger": round(speed[PEER] * flops / best, 3),
        "best_tflops": round(best / 1e12, 3),
        "rates_tflops": {name: round(rate / 1e12, 3) for name, rate in rates.items()},
        "gflop_per_token": round(flops / 1e9, 3),
        "peak_mb": round(peak[OURS] / 1e6),
        "peak_mb_trl_liger": round(peak[PEER] / 1e6),
        "row_tokens": work.row,
    }
