"""Several fine-tunes in one llama.cpp: each answers as its merged model, whoever else is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import pytest

from phoundry.errors import ModelError
from phoundry.serving.engines.base import SamplingParams
from phoundry.serving.engines.llamacpp_shared import SharedLlamaCpp
from tests.serving.tuned import END, PROMPT, Tuned, said, spec_of

T = TypeVar("T")


def _with(tuned: Tuned, use: Callable[[SharedLlamaCpp], Awaitable[T]]) -> T:
    async def main() -> T:
        shared = SharedLlamaCpp(spec_of(tuned.base))
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
            assert await said(one) == tuned.merged[0]
            meanwhile += 1
        other = await joining
        assert meanwhile
        for _ in range(3):
            assert await said(one) == tuned.merged[0]
            assert await said(other) == tuned.merged[1]
        both = await asyncio.gather(said(one), said(other), said(one))
        assert tuple(both[:2]) == tuned.merged
        with pytest.raises(ModelError, match="no model file"):
            await shared.adapted(tuned.base.with_name("gone.gguf"), END)
        assert await said(other) == tuned.merged[1]
        await one.check()
        await one.close()
        await one.close()  # gives back once
        assert await said(other) == tuned.merged[1]
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
            await said(one)

    _with(tuned, use)


def test_who_is_not_used_any_more_is_not_loaded_again(tuned: Tuned) -> None:
    async def use(shared: SharedLlamaCpp) -> tuple[Path, ...]:
        one = await shared.adapted(tuned.adapters[0], END)
        await one.close()
        await shared.adapted(tuned.adapters[1], END)
        return shared.adapters

    assert _with(tuned, use) == (tuned.adapters[1],)
