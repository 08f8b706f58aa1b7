"""What fine-tunes of one base cost that share a process, beside one that is served merged.

    python -m benchmarks.adapters [--members N] [--slots N] [--context N] [--rounds N]

SmolLM2 in Q8_0 with adapters of rank 16 on all linear layers (random: neither memory nor speed
depends on what was learnt). Memory is the proportional set size of every process, after each
deployment has answered. Throughput is tokens for each second of the processor's time that llama.cpp
took, of four streams at once: of one adapter, of four, and of one stream alone.

Ends with one JSON line: `ratio_memory` (all members against one merged replica) and
`ratio_throughput_adapters` (four adapters against one). Goal: at most 1.3 with ten.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil

from phoundry.files import read_json, write_json
from phoundry.models.adapter_gguf import convert_adapter
from phoundry.models.convert import convert
from phoundry.models.materialize import materialize
from phoundry.settings import Home
from phoundry.training.machine import cores

MODEL = "smollm2-135m-instruct"
TOKEN = "benchmark"
STREAMS, TOKENS = 4, 64
START_SECONDS = 180.0


def main() -> None:
    options = _arguments()
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        checkpoint, gguf = _model()
        adapters = _adapters(checkpoint, folder, options.members)
        common = {
            "engine": "llama.cpp",
            "gguf_path": str(gguf),
            "tokenizer_dir": str(checkpoint),
            "model_name": "faq",
            "context_length": options.context,
            "slots": options.slots,
            "threads": cores(),
            "token": TOKEN,
        }
        alone = Replica("phoundry.serving.replica", folder / "alone", common)
        alone.answer()
        one = _proportional([alone.process.pid])
        alone.end()
        members: list[Replica] = []
        for number, adapter in enumerate(adapters):
            spec = {**common, "adapter_path": str(adapter), "pool_dir": str(folder / "pool")}
            made = Replica("phoundry.serving.replica.member", folder / f"m{number}", spec)
            stack.callback(made.end)
            members.append(made)
        for member in members:
            member.answer()
        print(json.dumps(_compared(options, members, folder, one)))


class Replica:
    """A replica's process, as the control plane starts it."""

    def __init__(self, module: str, folder: Path, spec: dict[str, Any]) -> None:
        folder.mkdir()
        write_json(folder / "spec.json", {**spec, "name": f"faq/{folder.name}"}, mode=0o600)
        with (folder / "log.txt").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(folder)], stdout=log, stderr=log
            )
        end = time.monotonic() + START_SECONDS
        while not (folder / "ready.json").exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit((folder / "log.txt").read_text())
            time.sleep(0.05)
        self._url = f"http://127.0.0.1:{read_json(folder / 'ready.json')['port']}"

    def answer(self) -> int:
        """Tokens of an answer to a question."""
        messages = [{"role": "user", "content": "Tell me in detail how a house is built."}]
        body = {"messages": messages, "max_tokens": TOKENS, "temperature": 1.0}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"{self._url}/v1/chat/completions"
        reply = httpx.post(url, json=body, headers=headers, timeout=600, trust_env=False)
        return int(reply.raise_for_status().json()["usage"]["completion_tokens"])

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def _compared(
    options: argparse.Namespace, members: list[Replica], folder: Path, one: int
) -> dict[str, Any]:
    pool = psutil.Process(read_json(folder / "pool" / "pool.json")["pid"])
    while len(pool.children()) > 1:
        time.sleep(0.1)  # the process before is freeing its memory
    (llama,) = pool.children()
    parts = {
        "members": _proportional([member.process.pid for member in members]),
        "pool": _proportional([pool.pid]),
        "llama_cpp": _proportional([llama.pid]),
    }
    rates: dict[str, list[float]] = {"one_adapter": [], "four_adapters": [], "one_stream": []}
    for _ in range(options.rounds):
        rates["one_adapter"].append(_rate(llama, members[:1] * STREAMS))
        rates["four_adapters"].append(_rate(llama, members[:STREAMS]))
        rates["one_stream"].append(_rate(llama, members[:1]))
    per_second = {name: round(statistics.median(found), 1) for name, found in rates.items()}
    pairs = zip(rates["four_adapters"], rates["one_adapter"], strict=True)
    return {
        "members": len(members),
        "slots": options.slots,
        "context": options.context,
        "merged_mb": one >> 20,
        **{f"{name}_mb": size >> 20 for name, size in parts.items()},
        "ratio_memory": round(sum(parts.values()) / one, 3),
        "tokens_per_processor_second": per_second,
        "ratio_throughput_adapters": round(statistics.median(a / b for a, b in pairs), 3),
    }


def _rate(llama: psutil.Process, asked: Sequence[Replica]) -> float:
    """Tokens for each second of the processor's time, all of `asked` at once."""
    before = sum(llama.cpu_times()[:2])
    with ThreadPoolExecutor(len(asked)) as threads:
        tokens = sum(threads.map(Replica.answer, asked))
    return tokens / (sum(llama.cpu_times()[:2]) - before)


def _proportional(pids: Sequence[int]) -> int:
    return sum(int(psutil.Process(pid).memory_full_info().pss) for pid in pids)


def _model() -> tuple[Path, Path]:
    cache = Home.current().cache / "benchmarks"
    cache.mkdir(parents=True, exist_ok=True)
    checkpoint, gguf = cache / MODEL, cache / f"{MODEL}-Q8_0.gguf"
    materialize(MODEL, checkpoint, cache / "models", say=lambda text: None)
    if not gguf.exists():
        convert(checkpoint, gguf, "Q8_0")
    return checkpoint, gguf


def _adapters(checkpoint: Path, folder: Path, count: int) -> list[Path]:
    """Adapters as GGUF; each its own file, so that none is held in memory for another."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    settings = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="float32")
    adapted: Any = get_peft_model(model, settings)
    adapted.save_pretrained(folder / "peft")
    paths = [folder / f"adapter{number}.gguf" for number in range(count)]
    for path in paths:
        convert_adapter(folder / "peft", checkpoint, path)
    return paths


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--slots", type=int, default=8, help="conversations decoded together")
    parser.add_argument("--context", type=int, default=4096, help="tokens of a conversation")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
