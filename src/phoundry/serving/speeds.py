"""Worker: how fast each engine serves one GGUF on this machine.

    python -m phoundry.serving.speeds RUN_DIR

spec.json is `{engines, gguf_path, tokenizer_dir, context_length, threads, slots, streams}`:
`streams` are numbers of conversations at once, none above `slots`. result.json tells `{speeds:
{engine: {streams: tokens per second}}, left_out: {engine: why}}`. One engine is in memory at a
time; of each number the best of three runs counts, because what else runs on the machine only ever
slows one down.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from phoundry.data import ChatMessage, ChatTokenizer
from phoundry.errors import PhoundryError
from phoundry.serving.engines.base import Engine, EngineSpec, SamplingParams
from phoundry.serving.engines.registry import open_engine
from phoundry.spool import Spool
from phoundry.worker import main

TOKENS, RUNS = 48, 3
_ASKED = "Tell me in detail how a house is built, from the first drawing to the last coat of paint."


def task(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """The worker's task (see `phoundry.worker`)."""
    folder = Path(spec["tokenizer_dir"])
    tokenizer = ChatTokenizer.load(folder)
    prompt = tokenizer.render_prompt([ChatMessage(role="user", content=_ASKED)])
    loaded = EngineSpec(
        context_length=int(spec["context_length"]),
        slots=int(spec["slots"]),
        threads=int(spec["threads"]),
        end_token_ids=frozenset(tokenizer.end_token_ids),
        gguf_path=Path(spec["gguf_path"]),
        tokenizer_dir=folder,
    )
    speeds: dict[str, dict[str, float]] = {}
    left_out: dict[str, str] = {}
    for name in spec["engines"]:
        spool.append("progress", message=f"Measuring {name}.")
        try:
            found = asyncio.run(_measured(name, loaded, prompt, spec["streams"]))
        except PhoundryError as error:
            left_out[name] = f"{error.message} {error.remedy or ''}".strip()
        else:
            speeds[name] = {str(streams): round(rate, 1) for streams, rate in found.items()}
    return {"speeds": speeds, "left_out": left_out}


async def _measured(
    name: str, spec: EngineSpec, prompt: list[int], streams: Sequence[int]
) -> dict[int, float]:
    engine = open_engine(name, spec)
    try:
        await _rate(engine, prompt, 1)  # the first one pays for pages and graphs
        return {
            count: max([await _rate(engine, prompt, count) for _ in range(RUNS)])
            for count in streams
        }
    finally:
        await engine.close()


async def _rate(engine: Engine, prompt: list[int], streams: int) -> float:
    """Tokens per second of `streams` answers at once, reading the prompts included."""
    begun = time.perf_counter()
    counts = await asyncio.gather(*(_answer(engine, prompt) for _ in range(streams)))
    return sum(counts) / (time.perf_counter() - begun)


async def _answer(engine: Engine, prompt: list[int]) -> int:
    tokens = 0
    params = SamplingParams(max_tokens=min(TOKENS, engine.context_length - len(prompt)))
    async with aclosing(engine.generate(prompt, params)) as deltas:
        async for delta in deltas:
            tokens = delta.tokens
    return tokens


if __name__ == "__main__":
    main(task)
