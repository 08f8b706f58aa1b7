"""Several fine-tunes in one llama.cpp: each answers as its merged model, whoever else is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from phoundry.errors import ModelError
from phoundry.models.adapter_gguf import convert_adapter
from phoundry.models.convert import convert
from phoundry.models.merge import merge
from phoundry.serving.engines.base import Engine, EngineSpec, SamplingParams
from phoundry.serving.engines.llamacpp import LlamaCppEngine
from phoundry.serving.engines.llamacpp_shared import SharedLlamaCpp
from tests.support.checkpoints import build, write_adapter

T = TypeVar("T")
END = frozenset({2})
PROMPT = [5, 6, 7, 8, 9, 10]


@dataclass(frozen=True)
class Tuned:
    """Two fine-tunes of one base: adapters, and what their merged models say."""

    base: Path
    adapters: tuple[Path, Path]
    merged: tuple[list[int], list[int]]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "base").mkdir()
    base = build("llama", folder / "base")
    convert(base, folder / "base.gguf", "F32")
    adapters: list[Path] = []
    said: list[list[int]] = []
    for number, size in enumerate((0.3, 0.6)):
        adapter = write_adapter(base, folder / f"peft{number}", size=size)
        merged = folder / f"merged{number}"
        merged.mkdir()
        merge(base, adapter, merged)
        convert(merged, folder / f"merged{number}.gguf", "F32")
        adapters.append(folder / f"adapter{number}.gguf")
        convert_adapter(adapter, base, adapters[-1])
        said.append(asyncio.run(_plain(folder / f"merged{number}.gguf")))
    assert said[0] != said[1]
    return Tuned(folder / "base.gguf", (adapters[0], adapters[1]), (said[0], said[1]))


async def _plain(path: Path) -> list[int]:
    engine = LlamaCppEngine(_spec(path))
    return await _said(engine)


def _spec(path: Path) -> EngineSpec:
    return EngineSpec(context_length=64, slots=2, threads=1, end_token_ids=END, gguf_path=path)


async def _said(engine: Engine, count: int = 8) -> list[int]:
    ids: list[int] = []
    params = SamplingParams(max_tokens=count, exact_ids=True)
    async with aclosing(engine.generate(PROMPT, params)) as deltas:
        async for delta in deltas:
            ids += delta.token_ids
    return ids


def _with(tuned: Tuned, use: Callable[[SharedLlamaCpp], Awaitable[T]]) -> T:
    async def main() -> T:
        shared = SharedLlamaCpp(_spec(tuned.base))
        try:
            return await use(shared)
        finally:
            await shared.close()

    return asyncio.run(main())


def test_each_adapter_answers_as_its_merged_model(tuned: Tuned) -> None:
    """In turns, so that a prompt that one adapter has read is never taken for another's; while one
    joins, who is there goes on; and what cannot be loaded changes nothing."""

    async def use(shared: SharedLlamaCpp) -> None:
        one = await shared.adapted(tuned.adapters[0], END)
        joining = asyncio.create_task(shared.adapted(tuned.adapters[1], END))
        meanwhile = 0
        while not joining.done():
            assert await _said(one) == tuned.merged[0]
            meanwhile += 1
        other = await joining
        assert meanwhile
        for _ in range(3):
            assert await _said(one) == tuned.merged[0]
            assert await _said(other) == tuned.merged[1]
        both = await asyncio.gather(_said(one), _said(other), _said(one))
        assert tuple(both[:2]) == tuned.merged
        with pytest.raises(ModelError, match="no model file"):
            await shared.adapted(tuned.base.with_name("gone.gguf"), END)
        assert await _said(other) == tuned.merged[1]
        await one.check()
        await one.close()
        await one.close()  # gives back once
        assert await _said(other) == tuned.merged[1]
        assert "embeddings" not in other.features

    _with(tuned, use)


def test_a_stream_that_has_begun_ends_in_the_process_where_it_began(tuned: Tuned) -> None:
    async def use(shared: SharedLlamaCpp) -> None:
        one = await shared.adapted(tuned.adapters[0], END)
        params = SamplingParams(max_tokens=8)
        async with aclosing(one.generate(PROMPT, params)) as deltas:
            begun = await anext(deltas)
            await shared.adapted(tuned.adapters[1], END)
            ids, tokens = list(begun.token_ids), 0
            async for delta in deltas:
                ids += delta.token_ids
                tokens = delta.tokens
        # A stream leaves out the ids of a character's first bytes.
        assert tokens == 8
        assert ids == [each for each in tuned.merged[0] if each in ids]
        assert set(shared.adapters) == set(tuned.adapters)

    _with(tuned, use)


def test_a_process_that_dies_is_told_of(tuned: Tuned) -> None:
    async def use(shared: SharedLlamaCpp) -> None:
        one = await shared.adapted(tuned.adapters[0], END)
        host = shared._host  # pyright: ignore[reportPrivateUsage]
        assert host is not None
        host.process.kill()
        await asyncio.wait_for(shared.lost.wait(), 30)
        with pytest.raises(ModelError, match="process has ended"):
            await _said(one)

    _with(tuned, use)


def test_who_is_not_used_any_more_is_not_loaded_again(tuned: Tuned) -> None:
    async def use(shared: SharedLlamaCpp) -> tuple[Path, ...]:
        one = await shared.adapted(tuned.adapters[0], END)
        await one.close()
        await shared.adapted(tuned.adapters[1], END)
        return shared.adapters

    assert _with(tuned, use) == (tuned.adapters[1],)
