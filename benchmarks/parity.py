"""How far rounding moves a model: what the deploy gate's tolerances are taken from.

    python -m benchmarks.parity [--questions N] [--kinds Q8_0,Q4_0] [--engine openvino]
                                [--base FOLDER --adapter FOLDER]

SmolLM2 as it is and fine-tuned (64 rows of the construction FAQ, three passes) answer questions
greedily in llama.cpp (or `--engine`, where that is installed), in every quantisation. Where a token
is not the reference's (the checkpoint in transformers, float32, reading the same answer), it counts
by how many logits it is behind, as a share of the logits' spread. The tuned model itself, unmerged,
is held against the registered one in the same way. With `--base` and `--adapter` an existing
fine-tune is taken instead.

A tolerance is FACTOR times the furthest that was seen, rounded up (docs/design/parity.md). Ends
with one JSON line. Its results do not depend on how busy the machine is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from benchmarks.train.material import faq, prepare
from phoundry.data.tokenizer import ChatTokenizer
from phoundry.files import read_json, write_json
from phoundry.models.convert import convert
from phoundry.models.merge import merge
from phoundry.serving.engines.base import EngineSpec, SamplingParams
from phoundry.serving.engines.registry import open_engine
from phoundry.serving.parity.reference import Reference
from phoundry.serving.parity.steps import (
    Said,
    divergences,
    drifts,
    root_mean_square,
    trained_divergences,
)
from phoundry.settings import Home
from phoundry.specs.finetune import FineTuneParameters, resolve
from phoundry.specs.parity import ANSWER_TOKENS
from phoundry.specs.quantization import QUANTIZATIONS
from phoundry.training.machine import cores, machine_recommendation
from phoundry.training.model import TunedModel

FACTOR = 2.0
CONTEXT = 512
USUAL = {
    "apply_lora": "true",
    "lora_r": "16",
    "lora_alpha": "32",
    "learning_rate": "3e-3",
    "num_train_epochs": "3",
    "precision": "16",
}


def main() -> None:
    told = _arguments()
    cache = Home.current().cache / "benchmarks"
    with tempfile.TemporaryDirectory(prefix="phoundry-parity-") as name:
        folder = Path(name)
        base, adapter = told.base, told.adapter
        if base is None:
            base, adapter = _trained(folder / "training", cache)
        tuned = folder / "tuned"
        tuned.mkdir()
        merge(base, adapter, tuned)
        chats = faq(cache, told.questions)
        found: dict[str, Any] = {}
        for label, checkpoint in (("base", base), ("tuned", tuned)):
            reference = Reference(checkpoint, threads=cores())
            prompts = _prompts(checkpoint, chats)
            for kind in told.kinds:
                found[f"{label} {kind}"] = _engine(
                    told.engine, checkpoint, kind, prompts, reference, folder
                )
                _say(f"{label} {kind}", found[f"{label} {kind}"])
            if label == "tuned":
                found["trained 16"] = _against_training(base, adapter, reference, chats)
                _say("trained 16", found["trained 16"])
    print(json.dumps({"factor": FACTOR, "tolerances": _tolerances(found, told.kinds), **found}))


def _engine(
    name: str,
    checkpoint: Path,
    kind: str,
    prompts: list[list[int]],
    reference: Reference,
    folder: Path,
) -> dict[str, Any]:
    """An engine's answers against the reference."""
    gguf = folder / f"{kind}.gguf"
    convert(checkpoint, gguf, kind)
    ends = frozenset(ChatTokenizer.load(checkpoint).end_token_ids)
    spec = EngineSpec(
        context_length=CONTEXT,
        slots=4,
        threads=cores(),
        end_token_ids=ends,
        gguf_path=gguf,
        tokenizer_dir=checkpoint,
    )
    answers = asyncio.run(_answers(name, spec, prompts))
    gguf.unlink()
    shares: list[float] = []
    steps = 0
    for prompt, said in zip(prompts, answers, strict=True):
        places = reference.places(prompt, said.ids, said.ids, ends)
        steps += len(said.ids) + said.ended
        apart = divergences(said, places, ends, 0.0)
        shares += [each.behind / places[each.step].spread for each in apart]
    return _distribution(steps, shares)


async def _answers(name: str, spec: EngineSpec, prompts: list[list[int]]) -> list[Said]:
    engine = open_engine(name, spec)
    turn = asyncio.Semaphore(spec.slots)

    async def answer(prompt: list[int]) -> Said:
        ids: list[int] = []
        reason = None
        params = SamplingParams(max_tokens=ANSWER_TOKENS, exact_ids=True)
        async with turn, aclosing(engine.generate(prompt, params)) as deltas:
            async for delta in deltas:
                ids += delta.token_ids
                reason = delta.finish_reason
        return Said(tuple(ids), reason == "stop")

    try:
        return list(await asyncio.gather(*map(answer, prompts)))
    finally:
        await engine.close()


def _against_training(
    base: Path, adapter: Path, reference: Reference, chats: list[dict[str, Any]]
) -> dict[str, Any]:
    """The tuned model as training had it, in bfloat16, against the merged one in float32."""
    from safetensors.torch import load_file  # type: ignore[reportUnknownVariableType]

    settings = read_json(adapter / "adapter_config.json")
    parameters = FineTuneParameters(
        apply_lora=True,
        lora_r=settings["r"],
        lora_alpha=settings["lora_alpha"],
        precision="16",
    )
    model = TunedModel(base, parameters)
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name, weight in model.trainable().items():
        weight.data.copy_(tensors[f"base_model.model.{name}"])
    tokenizer = ChatTokenizer.load(base)
    ends = frozenset(tokenizer.end_token_ids)
    shares: list[float] = []
    drift: list[float] = []
    for chat in chats:
        example = tokenizer.render_example(chat["messages"])
        start = example.loss_mask.index(True)
        end = start + sum(example.loss_mask)
        ids = example.token_ids[:end]
        greedy, margins = model.likeliest(ids, start)
        places = reference.places(ids[:start], ids[start:], greedy, ends)
        apart = trained_divergences(greedy, places, ends, 0.0)
        shares += [each.behind / places[each.step].spread for each in apart]
        drift += drifts(margins, places)
    return {**_distribution(len(drift), shares), "drift": round(root_mean_square(drift), 4)}


def _distribution(steps: int, shares: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(shares)

    def at(share: float) -> float:
        place = math.ceil(share * len(ordered)) - 1
        return round(ordered[max(0, place)], 4) if ordered else 0.0

    return {
        "steps": steps,
        "apart": len(ordered),
        "median": at(0.5),
        "p99": at(0.99),
        "most": at(1.0),
        "mean": round(sum(ordered) / steps, 4) if steps else 0.0,  # over all steps
    }


def _tolerances(found: dict[str, Any], kinds: Sequence[str]) -> dict[str, float]:
    """FACTOR times the most that was seen, rounded up to two digits after the point."""
    names = {kind: [f"base {kind}", f"tuned {kind}"] for kind in kinds}
    names["trained 16"] = ["trained 16"]
    most = {name: max(found[each]["most"] for each in of) for name, of in names.items()}
    most |= {f"mean {kind}": max(found[each]["mean"] for each in names[kind]) for kind in kinds}
    most["drift 16"] = found["trained 16"]["drift"]
    return {name: math.ceil(100 * FACTOR * value) / 100 for name, value in most.items()}


def _prompts(checkpoint: Path, chats: list[dict[str, Any]]) -> list[list[int]]:
    tokenizer = ChatTokenizer.load(checkpoint)
    return [tokenizer.render_prompt(chat["messages"][:1]) for chat in chats]


def _trained(folder: Path, cache: Path) -> tuple[Path, Path]:
    """A base model and an adapter on it that the training worker has just made."""
    material = prepare(folder / "data", cache, 80)
    parameters, sources = resolve(USUAL, machine=machine_recommendation())
    spec = {
        "checkpoint_dir": str(material.checkpoint),
        "train_path": str(material.train),
        "parameters": parameters.model_dump(mode="json"),
        "sources": sources,
    }
    write_json(folder / "run" / "spec.json", spec)
    subprocess.run([sys.executable, "-m", "phoundry.training", str(folder / "run")], check=True)
    return material.checkpoint, folder / "run" / "output" / "adapter"


def _say(name: str, found: dict[str, Any]) -> None:
    print(f"{name:<12} {json.dumps(found)}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(QUANTIZATIONS))
    parser.add_argument("--engine", default="llama.cpp", help="llama.cpp, openvino")
    parser.add_argument("--base", type=Path)
    parser.add_argument("--adapter", type=Path)
    told = parser.parse_args()
    if (told.base is None) != (told.adapter is None):
        parser.error("--base and --adapter go together")
    return told


if __name__ == "__main__":
    main()
