"""Two fine-tunes of one tiny base: adapters for llama.cpp, and what their merged models say."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from phoundry.models.adapter_gguf import convert_adapter
from phoundry.models.convert import convert
from phoundry.models.merge import merge
from phoundry.serving.engines.base import Engine, EngineSpec, SamplingParams
from phoundry.serving.engines.llamacpp import LlamaCppEngine
from tests.support.checkpoints import build, write_adapter

END = frozenset({2})
PROMPT = [5, 6, 7, 8, 9, 10]


@dataclass(frozen=True)
class Tuned:
    """`merged`: greedy ids after PROMPT; `checkpoint` has the tokenizer of all."""

    checkpoint: Path
    base: Path
    adapters: tuple[Path, Path]
    merged: tuple[list[int], list[int]]


def make(folder: Path) -> Tuned:
    (folder / "base").mkdir()
    base = build("llama", folder / "base")
    convert(base, folder / "base.gguf", "F32")
    adapters: list[Path] = []
    texts: list[list[int]] = []
    for number, size in enumerate((0.3, 0.6)):
        adapter = write_adapter(base, folder / f"peft{number}", size=size)
        merged = folder / f"merged{number}"
        merged.mkdir()
        merge(base, adapter, merged)
        convert(merged, folder / f"merged{number}.gguf", "F32")
        adapters.append(folder / f"adapter{number}.gguf")
        convert_adapter(adapter, base, adapters[-1])
        texts.append(asyncio.run(_plain(folder / f"merged{number}.gguf")))
    assert texts[0] != texts[1]
    return Tuned(base, folder / "base.gguf", (adapters[0], adapters[1]), (texts[0], texts[1]))


def spec_of(path: Path) -> EngineSpec:
    return EngineSpec(context_length=64, slots=2, threads=1, end_token_ids=END, gguf_path=path)


async def said(engine: Engine, count: int = 8) -> list[int]:
    """Greedy ids after PROMPT."""
    ids: list[int] = []
    params = SamplingParams(max_tokens=count, exact_ids=True)
    async with aclosing(engine.generate(PROMPT, params)) as deltas:
        async for delta in deltas:
            ids += delta.token_ids
    return ids


async def _plain(path: Path) -> list[int]:
    return await said(LlamaCppEngine(spec_of(path)))
