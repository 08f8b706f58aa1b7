"""No answer is lost with its replica: who is asked instead, how often, and who waits."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from phoundry.serving.gateway import replicas as replica_set
from phoundry.serving.gateway.routes import DeploymentRoute, EndpointRoute
from tests.serving.inside import (
    CHAT,
    FakeReplica,
    Inside,
    Talk,
    answer,
    break_off,
    hang,
    replicas,
    until,
)

ASK = json.dumps({"model": "faq", "messages": []}).encode()


def outputs(seen: list[FakeReplica]) -> list[int]:
    return [len(replica.seen) for replica in seen]


async def half_an_answer(talk: Talk) -> None:
    talk.writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n{")
    await talk.writer.drain()
    talk.writer.transport.abort()


async def nonsense(talk: Talk) -> None:
    talk.writer.write(b"+++ this is no HTTP +++\r\n\r\n")


@pytest.mark.parametrize("manner", [break_off, half_an_answer, nonsense])
def test_what_breaks_off_is_asked_of_another(tmp_path: Path, manner: object) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("bad", "good") as (bad, good):
            bad.manner = manner  # type: ignore[assignment]
            inside.serve(bad, good)
            replies = [await inside.ask(body=b'{"n": %d}' % n) for n in range(20)]
            assert {(r.status, r.content) for r in replies} == {(200, b'{"output": "good"}')}
            assert bad.seen  # it was asked, and its requests went to the other
            assert set(bad.seen) <= set(good.seen)
            assert sorted(good.seen) == sorted(b'{"n": %d}' % n for n in range(20))

    asyncio.run(main())


def test_a_request_that_breaks_replicas_ends_at_three(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("a", "b", "c", "d", "e", manner=break_off) as broken:
            inside.serve(*broken)
            reply = await inside.ask()
            assert reply.status == 424
            assert reply.headers["ms-azureml-model-error-statuscode"] == "502"
            assert sorted(outputs(broken)) == [0, 0, 1, 1, 1]

    asyncio.run(main())


def test_a_failure_that_a_replica_answers_is_its_answer(tmp_path: Path) -> None:
    async def fail(talk: Talk) -> None:
        talk.send(b'{"error": {"message": "the model failed"}}', 500)

    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("a", "b", manner=fail) as failing:
            inside.serve(*failing)
            reply = await inside.ask()
            assert reply.status == 424
            assert "the model failed" in reply.json()["error"]["message"]
            assert sum(outputs(failing)) == 1

    asyncio.run(main())


@pytest.fixture
def long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly this machine asks, who has refused still rests."""
    monkeypatch.setattr("phoundry.serving.gateway.upstream.REST_SECONDS", 600.0)


@pytest.mark.usefixtures("long_rest")
def test_a_replica_that_is_not_ready_is_passed_over(tmp_path: Path) -> None:
    async def refuse(talk: Talk) -> None:
        talk.send(b'{"error": {"message": "still starting"}}', 503)

    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("starting", "ready") as (starting, ready):
            starting.manner = refuse
            inside.serve(starting, ready)
            replies = [await inside.ask() for _ in range(10)]
            assert {reply.status for reply in replies} == {200}
            assert outputs([starting, ready]) == [1, 10]  # and then it rests

    asyncio.run(main())


@pytest.mark.usefixtures("long_rest")
def test_a_dead_replica_is_not_knocked_at_by_each_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("dead", "alive") as (dead, alive):
            inside.serve(dead, alive)
            dead.kill()
            loop = asyncio.get_running_loop()
            tried: list[int] = []
            connect = loop.create_connection

            async def counting(factory: object, host: str, port: int) -> object:
                tried.append(port)
                return await connect(factory, host, port)  # type: ignore[arg-type]

            monkeypatch.setattr(loop, "create_connection", counting)
            for _ in range(20):
                assert (await inside.ask()).status == 200
            assert tried.count(dead.port) == 1

    asyncio.run(main())


def test_the_least_loaded_is_asked(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("slow", "quick") as (slow, quick):
            slow.manner = hang
            inside.serve(slow, quick, max_concurrent=8)
            waiting = [asyncio.create_task(inside.ask()) for _ in range(2)]
            await until(lambda: slow.seen)
            for _ in range(10):
                assert (await inside.ask()).json() == {"output": "quick"}
            assert len(slow.seen) <= 2  # as long as it is busy, the other is asked
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(main())


def test_a_busy_replica_is_asked_before_the_one_that_has_just_broken_off(tmp_path: Path) -> None:
    async def first_hangs(talk: Talk) -> None:
        await (hang if len(talk.replica.seen) == 1 else answer)(talk)

    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("busy", manner=first_hangs) as (busy,):
            inside.serve(busy, max_concurrent=8)
            waiting = asyncio.create_task(inside.ask())
            await until(lambda: busy.seen)
            async with replicas("bad", manner=break_off) as (bad,):
                inside.serve(busy, bad, max_concurrent=8)
                assert (await inside.ask()).json() == {"output": "busy"}
                assert len(bad.seen) == 1
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(main())


def test_a_replica_taken_out_of_rotation_is_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path, patience=20)
        async with replicas("unready") as (replica,):
            inside.serve(replica)
            assert (await inside.ask()).status == 200
            inside.serve()
            waiting = asyncio.create_task(inside.ask())
            await asyncio.sleep(0.02)
            assert not waiting.done()
            inside.serve(replica)
            assert (await waiting).status == 200

    asyncio.run(main())


def test_ties_go_round(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("a", "b", "c") as three:
            inside.serve(*three)
            for _ in range(30):
                await inside.ask()
            assert outputs(three) == [10, 10, 10]

    asyncio.run(main())


def test_a_restarted_replica_gets_the_requests_that_its_death_met(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path, patience=20)
        async with replicas("first", manner=hang) as (first,):
            inside.serve(first, max_concurrent=4)
            waiting = [asyncio.create_task(inside.ask()) for _ in range(4)]
            await until(lambda: len(first.seen) == 4)
            first.kill()
            late = asyncio.create_task(inside.ask())  # while nobody is there
            await asyncio.sleep(0.02)
            inside.serve(max_concurrent=4)  # the control plane has seen it
            await asyncio.sleep(0.02)
            assert not any(task.done() for task in [*waiting, late])
            async with replicas("second") as (second,):
                inside.serve(second, max_concurrent=4)
                replies = await asyncio.gather(*waiting, late)
                assert {(r.status, r.content) for r in replies} == {(200, b'{"output": "second"}')}

    asyncio.run(main())


def test_patience_ends_with_503_and_then_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        inside = Inside(tmp_path, patience=0.1)
        async with replicas("gone") as (gone,):
            inside.serve(gone)
            assert (await inside.ask()).status == 200
            gone.kill()
            first = await inside.ask()
            # Who waited now would wait for ever.
            now = time.monotonic()
            monkeypatch.setattr(replica_set, "time", SimpleNamespace(monotonic=lambda: now))
            async with asyncio.timeout(20):
                again = await inside.ask()
            assert (first.status, again.status) == (503, 503)
            assert first.headers["retry-after"] == "1"
            assert "blue" in first.json()["error"]["message"]
            revived = await FakeReplica("revived").start()
            inside.serve(revived)
            assert (await inside.ask()).json() == {"output": "revived"}
            revived.kill()

    asyncio.run(main())


def test_a_deployment_that_never_had_a_replica_is_503_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path, patience=60)
        inside.serve()
        async with asyncio.timeout(20):
            reply = await inside.ask()
        assert reply.status == 503
        assert reply.headers["retry-after"] == "1"

    asyncio.run(main())


def test_who_waits_for_a_deployment_that_is_deleted_is_told_so(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path, patience=60)
        async with replicas("gone", manner=hang) as (gone,):
            inside.serve(gone)
            waiting = asyncio.create_task(inside.ask())
            await until(lambda: gone.seen)
            gone.kill()
            await asyncio.sleep(0.01)
            inside.use({})
            async with asyncio.timeout(20):
                assert (await waiting).status == 503

    asyncio.run(main())


def test_a_stream_that_has_begun_ends_with_an_error_event_and_is_not_asked_again(
    tmp_path: Path,
) -> None:
    async def stream(talk: Talk) -> None:
        talk.begin_stream()
        talk.piece(b'data: {"n": 1}\n\n')
        await talk.writer.drain()
        await asyncio.sleep(0.02)
        talk.writer.transport.abort()

    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("a", "b", manner=stream) as both:
            inside.serve(*both)
            reply = await inside.ask(CHAT, ASK)
            first, last, rest = reply.content.decode().split("\n\n")
            assert (reply.status, first, rest) == (200, 'data: {"n": 1}', "")
            assert "broke off" in json.loads(last.removeprefix("data: "))["error"]["message"]
            assert reply.ended
            assert sum(outputs(both)) == 1

    asyncio.run(main())


def test_a_long_stream_is_not_held_in_memory_for_a_client_that_does_not_read(
    tmp_path: Path,
) -> None:
    """The replica cannot send on: what is on its way is what sockets hold, and 256 KiB."""
    sent: list[int] = []

    async def flood(talk: Talk) -> None:
        talk.begin_stream()
        for number in range(300):
            talk.piece(b"x" * 100_000)
            await talk.writer.drain()
            sent.append(number)
        talk.piece(b"")

    async def main() -> None:
        inside = Inside(tmp_path)
        reading = asyncio.Event()
        async with replicas("flood", manner=flood) as (replica,):
            inside.serve(replica)
            asking = asyncio.create_task(inside.ask(CHAT, ASK, reading=reading))
            await until(lambda: sent)
            before = -1
            while len(sent) > before:  # until it can send no more
                before = len(sent)
                await asyncio.sleep(0.05)
            assert 0 < len(sent) < 200
            reading.set()
            reply = await asking
            assert (reply.status, len(reply.content)) == (200, 300 * 100_000)

    asyncio.run(main())


def test_a_connection_is_used_again_and_a_stale_one_costs_no_answer(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("a") as (replica,):
            inside.serve(replica)
            for _ in range(3):
                assert (await inside.ask()).status == 200
            (writer,) = replica.talks  # one connection for all of them
            writer.transport.abort()  # as a replica closes what was idle for long
            assert (await inside.ask()).status == 200
            assert len(replica.seen) == 4

    asyncio.run(main())


def test_what_a_request_says_goes_to_the_replica_unchanged(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("a", manner=answer) as (replica,):
            inside.serve(replica)
            body = json.dumps({"messages": ["ä" * 300_000], "model": "faq"}).encode()
            reply = await inside.ask(CHAT, body, x_request_id="mine-1")
            assert reply.headers["x-request-id"] == "mine-1"
            assert replica.seen == [body]
            head = replica.heads[0].decode().lower()
            assert head.startswith("post /v1/chat/completions http/1.1\r\n")
            assert "authorization: bearer replica-token\r\n" in head
            assert "x-request-id: mine-1\r\n" in head
            assert "key-of-faq" not in head

    asyncio.run(main())


def test_replicas_keep_their_connections_over_a_change_of_the_table(tmp_path: Path) -> None:
    async def main() -> None:
        inside = Inside(tmp_path)
        async with replicas("a", "b") as (a, b):
            inside.serve(a)
            assert (await inside.ask()).status == 200
            inside.serve(a, b, timeout_ms=1000)
            for _ in range(4):
                assert (await inside.ask()).status == 200
            assert len(a.talks) == 1
            inside.use({"other": inside_route(b)})
            await until(lambda: not a.talks)  # nobody names it any more

    asyncio.run(main())


def inside_route(replica: FakeReplica) -> EndpointRoute:
    return EndpointRoute([], {"blue": 100}, {"blue": DeploymentRoute([replica.route])})
