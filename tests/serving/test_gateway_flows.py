"""What the gateway does for flows and for nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.serving.inside import CHAT, SCORE, FakeReplica, Inside, Talk, break_off, replicas


def test_a_flow_that_broke_off_is_not_run_again(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("a", "b", manner=break_off) as (one, other):
            inside.serve(one, other, once=True)
            reply = await inside.ask()
            assert reply.status == 424
            assert len(one.seen) + len(other.seen) == 1
            inside.serve(one, other)
            await inside.ask()
            assert len(one.seen) + len(other.seen) == 4  # a model is asked three times

    asyncio.run(main())


def test_who_wants_a_stream_is_passed_on_for_scores(tmp_path: Path) -> None:
    async def main() -> list[bytes]:
        inside = Inside(tmp_path)
        async with replicas("a") as (one,):
            inside.serve(one)
            both = "text/event-stream, application/json"
            await inside.ask(SCORE, accept=both)
            await inside.ask(SCORE, accept="application/json")
            await inside.ask(CHAT, b'{"model": "faq"}', accept=both)
            return one.heads

    heads = asyncio.run(main())
    assert [b"Accept: text/event-stream" in head for head in heads] == [True, False, False]


def test_the_trace_of_the_caller_is_passed_on_for_scores(tmp_path: Path) -> None:
    context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    async def main() -> list[bytes]:
        inside = Inside(tmp_path)
        async with replicas("a") as (one,):
            inside.serve(one)
            await inside.ask(SCORE, traceparent=context)
            await inside.ask(SCORE, traceparent="made up")
            await inside.ask(CHAT, b'{"model": "faq"}', traceparent=context)
            return one.heads

    heads = asyncio.run(main())
    assert [b"traceparent: 00-4bf92f35" in head for head in heads] == [True, False, False]
    assert b"made up" not in heads[1]


@pytest.mark.parametrize("status", [400, 406, 413, 415])
def test_what_the_caller_can_mend_keeps_its_status(tmp_path: Path, status: int) -> None:
    async def refuse(talk: Talk) -> None:
        talk.send(b'{"error": {"code": "X", "message": "no"}}', status)

    async def main() -> int:
        inside = Inside(tmp_path)
        async with replicas("a", manner=refuse) as (one,):
            assert isinstance(one, FakeReplica)
            inside.serve(one)
            return (await inside.ask()).status

    assert asyncio.run(main()) == status
