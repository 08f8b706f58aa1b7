"""The engine vllm, on a server that speaks what vLLM documents: no GPU was at hand."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import pytest
from tokenizers import Tokenizer

from phoundry.errors import InvalidInput, ModelError
from phoundry.serving.engines.base import Delta, EngineSpec, SamplingParams
from phoundry.serving.engines.registry import open_engine
from phoundry.serving.engines.vllm import VllmEngine
from tests.serving import fake_vllm

T = TypeVar("T")
END = 2


def spec_of(tokenizer_dir: Path, context_length: int = 64) -> EngineSpec:
    (tokenizer_dir / "config.json").write_text('{"model_type": "llama"}')
    return EngineSpec(
        context_length=context_length,
        slots=4,
        threads=1,
        end_token_ids=frozenset({END}),
        checkpoint_dir=tokenizer_dir,
        tokenizer_dir=tokenizer_dir,
        options={"command": [sys.executable, fake_vllm.__file__]},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from tests.support.tiny_tokenizer import make_tiny_tokenizer

    return make_tiny_tokenizer(tmp_path / "tiny", style="chatml").folder


def opened(spec: EngineSpec, use: Callable[[VllmEngine], Awaitable[T]]) -> T:
    async def main() -> T:
        engine = open_engine("vllm", spec)
        assert isinstance(engine, VllmEngine)
        try:
            return await use(engine)
        finally:
            await engine.close()

    return asyncio.run(main())


async def deltas_of(engine: VllmEngine, prompt: list[int], count: int = 20) -> list[Delta]:
    async with aclosing(engine.generate(prompt, SamplingParams(max_tokens=count))) as deltas:
        return [delta async for delta in deltas]


def test_ids_in_and_ids_out(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompt: list[int] = tokenizer.encode("Grüße, 日本", add_special_tokens=False).ids

    async def use(engine: VllmEngine) -> None:
        whole = await deltas_of(engine, prompt)
        assert [token for delta in whole for token in delta.token_ids] == prompt
        assert "".join(delta.text for delta in whole) == "Grüße, 日本"
        assert (whole[-1].finish_reason, whole[-1].tokens) == ("stop", len(prompt))
        cut = await deltas_of(engine, prompt, 3)
        assert [delta.tokens for delta in cut] == [1, 2, 3]
        assert cut[-1].finish_reason == "length"
        both = await asyncio.gather(deltas_of(engine, prompt), deltas_of(engine, prompt[:2]))
        assert [len(each) for each in both] == [len(prompt) + 1, 3]
        await engine.check()
        for fault, words in (
            (fake_vllm.REFUSES, "refused: This model's maximum context length"),
            (fake_vllm.FAILS, "vLLM failed: EngineCore"),
            (fake_vllm.BREAKS_OFF, "stopped answering"),
        ):
            with pytest.raises(ModelError, match=words):
                await deltas_of(engine, [fault])
        params = SamplingParams(max_tokens=3, presence_penalty=0.5)
        with pytest.raises(InvalidInput, match="presence_penalty"):
            await anext(engine.generate(prompt, params))
        early = engine.generate([fake_vllm.SLOW], SamplingParams(max_tokens=4))
        assert (await anext(early)).tokens == 1
        await early.aclose()
        engine._process.kill()  # pyright: ignore[reportPrivateUsage]
        engine._process.wait()  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(ModelError, match="process ended"):
            await engine.check()

    opened(spec_of(folder), use)


def test_a_server_that_ends_at_once_is_told(folder: Path) -> None:
    with pytest.raises(ModelError, match="ended with 3 before it served"):
        open_engine("vllm", spec_of(folder, context_length=13))


def test_code_of_the_checkpoint_is_refused(folder: Path) -> None:
    spec = spec_of(folder)
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "x.Y"}}')
    with pytest.raises(ModelError, match="auto_map"):
        open_engine("vllm", spec)
