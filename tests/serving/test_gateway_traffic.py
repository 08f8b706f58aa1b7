"""Weights, pins, limits, failures and changes of the table, through real processes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
from collections import Counter

import httpx

from phoundry.serving.gateway.routes import DeploymentRoute, EndpointRoute
from tests.serving.conftest import Gateway, StartReplica, chat, deployment, endpoint, score
from tests.serving.processes import Worker, wait_for

SCORE = "/endpoints/faq/score"
PIN = "azureml-model-deployment"


def test_a_pin_reaches_a_deployment_without_traffic(gateway: Gateway, echo: Worker) -> None:
    gateway.use({"faq": endpoint(blue=deployment(echo), green=deployment(echo))})
    with gateway.client() as client:
        free = client.post(SCORE, json=score())
        pinned = client.post(SCORE, json=score(), headers={PIN: "green"})
        by_model = client.post("/v1/chat/completions", json=chat(model="faq/green"))
        unknown = client.post(SCORE, json=score(), headers={PIN: "grene"})
    assert [r.headers[PIN] for r in (free, pinned, by_model)] == ["blue", "green", "green"]
    assert unknown.status_code == 404
    assert "green" in unknown.json()["error"]["message"]  # the nearest name


def test_without_traffic_and_pin_404_says_what_to_do(gateway: Gateway, echo: Worker) -> None:
    route = EndpointRoute(endpoint().key_hashes, {"blue": 0}, {"blue": deployment(echo)})
    gateway.use({"faq": route})
    with gateway.client() as client:
        refused = client.post(SCORE, json=score())
        pinned = client.post(SCORE, json=score(), headers={PIN: "blue"})
    assert refused.status_code == 404
    assert PIN in refused.json()["error"]["message"]
    assert "--traffic" in refused.json()["error"]["message"]
    assert pinned.status_code == 200


def test_no_ready_replica_is_503(gateway: Gateway) -> None:
    gateway.use({"new": endpoint(blue=DeploymentRoute())})  # it has not lost one either
    with gateway.client() as client:
        reply = client.post("/endpoints/new/score", json=score())
    assert reply.status_code == 503
    assert "blue" in reply.json()["error"]["message"]


def test_a_dead_replica_is_passed_over(
    gateway: Gateway, echo: Worker, start_replica: StartReplica
) -> None:
    gone = start_replica(name="gone")
    gateway.use({"faq": endpoint(blue=deployment(gone, echo))})
    gone.kill()
    with gateway.client() as client:
        assert [client.post(SCORE, json=score()).status_code for _ in range(6)] == [200] * 6


def test_the_models_failure_is_424_with_azures_headers(gateway: Gateway, failing: Worker) -> None:
    gateway.use({"faq": endpoint(blue=deployment(failing))})
    with gateway.client() as client:
        for path, body in ((SCORE, score()), ("/v1/chat/completions", chat())):
            reply = client.post(path, json=body)
            assert reply.status_code == 424
            assert reply.headers["ms-azureml-model-error-statuscode"] == "500"
            assert "as it was told to" in reply.headers["ms-azureml-model-error-reason"]
            assert "as it was told to" in reply.json()["error"]["message"]


def test_a_stream_that_fails_ends_with_an_error_event(gateway: Gateway, failing: Worker) -> None:
    gateway.use({"faq": endpoint(blue=deployment(failing))})
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=chat(stream=True))
    events = [line for line in reply.text.splitlines() if line]
    assert reply.status_code == 200
    assert "[DONE]" not in reply.text
    assert "as it was told to" in json.loads(events[-1].removeprefix("data: "))["error"]["message"]


def test_a_replica_killed_in_mid_stream_ends_it_with_an_error_event(
    gateway: Gateway, start_replica: StartReplica
) -> None:
    doomed = start_replica(name="doomed", options={"hang_after": 2})
    gateway.use({"faq": endpoint(blue=deployment(doomed))})
    with (
        gateway.client() as client,
        client.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as reply,
    ):
        lines = reply.iter_lines()
        assert "assistant" in next(lines)
        doomed.kill()
        rest = [line for line in lines if line]
    assert "broke off" in json.loads(rest[-1].removeprefix("data: "))["error"]["message"]


def test_a_timeout_is_408(gateway: Gateway, hanging: Worker) -> None:
    with gateway.client() as client:
        gateway.use({"faq": endpoint(blue=deployment(hanging, timeout_ms=150))})
        whole = client.post(SCORE, json=score())
        # Long enough for the stream to begin on a busy machine.
        gateway.use({"faq": endpoint(blue=deployment(hanging, timeout_ms=2500))})
        stream = client.post("/v1/chat/completions", json=chat(stream=True))
    assert whole.status_code == 408
    assert "0.15 s" in whole.json()["error"]["message"]
    assert '"code":"RequestTimeout"' in stream.text.splitlines()[-2]


def test_twice_the_limit_is_429_and_leaving_frees_the_places(
    gateway: Gateway, hanging: Worker
) -> None:
    gateway.use({"faq": endpoint(blue=deployment(hanging, max_concurrent=1))})
    ask = chat(stream=True)
    with gateway.client() as first, gateway.client() as other:
        with first.stream("POST", "/v1/chat/completions", json=ask) as running:
            lines = running.iter_lines()  # kept: httpx hangs up when it is dropped
            assert "assistant" in next(lines)  # it runs: one of two may wait
            refused = asyncio.run(_asked_until_one_is_answered(gateway, 2))
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert "max_concurrent" in refused.json()["error"]["message"]
        # All have left: their places are free again, in the gateway and in the replica (which
        # would otherwise hang for ever with its two slots taken).
        for _ in range(5):
            with other.stream("POST", "/v1/chat/completions", json=ask) as again:
                assert again.status_code == 200
                assert "assistant" in next(again.iter_lines())


async def _asked_until_one_is_answered(gateway: Gateway, number: int) -> httpx.Response:
    """The only reply among so many that ask at once; the others wait, and then hang up."""
    with gateway.client() as like:
        base, headers = like.base_url, like.headers
    async with httpx.AsyncClient(
        base_url=base, headers=headers, timeout=60, trust_env=False
    ) as client:
        asked = [asyncio.create_task(client.post(SCORE, json=score())) for _ in range(number)]
        done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert len(waiting) == number - 1
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return done.pop().result()


def test_shares_follow_the_weights(gateway: Gateway, echo: Worker) -> None:
    deployments = {name: deployment(echo, max_concurrent=64) for name in ("blue", "green")}
    gateway.use(
        {"faq": EndpointRoute(endpoint().key_hashes, {"blue": 75, "green": 25}, deployments)}
    )
    with gateway.client() as client:
        body = score(max_new_tokens=1)
        seen = Counter(client.post(SCORE, json=body).headers[PIN] for _ in range(400))
    # Chi-square with one degree of freedom; 19.5 is passed once in 100,000 runs.
    expected = {"blue": 300, "green": 100}
    statistic = sum((seen[name] - n) ** 2 / n for name, n in expected.items())
    assert statistic < 19.5, seen


def test_changes_of_the_table_drop_no_request(gateway: Gateway, echo: Worker, slow: Worker) -> None:
    blue, green = deployment(slow, max_concurrent=32), deployment(echo, max_concurrent=32)
    hashes = endpoint().key_hashes
    gateway.use({"faq": EndpointRoute(hashes, {"blue": 100}, {"blue": blue})})
    stop = threading.Event()

    seen: list[int] = []

    def ask() -> None:
        with gateway.client() as client:
            while not stop.is_set():
                seen.append(client.post(SCORE, json=score(max_new_tokens=4)).status_code)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for share in (90, 50, 0, 30, 100, 0):
            traffic = {"blue": share, "green": 100 - share}
            gateway.use({"faq": EndpointRoute(hashes, traffic, {"blue": blue, "green": green})})
            enough = len(seen) + 4
            wait_for(lambda enough=enough: len(seen) >= enough)
        gateway.use({"faq": endpoint(green=green)})  # blue is gone while it still answers
        stop.set()
        for future in asking:
            future.result()
    assert set(seen) == {200}


def test_a_broken_table_leaves_the_old_one_in_force(gateway: Gateway, echo: Worker) -> None:
    gateway.use({"faq": endpoint(blue=deployment(echo))})
    before = gateway.generation
    broken = [b"{", b"[]", b'{"generation": "x"}', b'{"generation": 99, "endpoints": {"a": 1}}']
    with gateway.client() as client:
        for content in broken:
            refusals = _refusals(gateway)
            gateway.routes.write_bytes(content)
            wait_for(lambda seen=refusals: _refusals(gateway) > seen)
            assert client.post(SCORE, json=score()).status_code == 200
            assert gateway.generation == before
        gateway.use({})  # and a good one is taken again
        assert client.post(SCORE, json=score()).status_code == 401


def _refusals(gateway: Gateway) -> int:
    return sum(event["kind"] == "routes_refused" for event in gateway.worker.events())


def test_a_revoked_key_stops_opening(gateway: Gateway, echo: Worker) -> None:
    gateway.use({"faq": endpoint(blue=deployment(echo))})
    with gateway.client() as client:
        assert client.post(SCORE, json=score()).status_code == 200
        gateway.use({"faq": endpoint("new-key", blue=deployment(echo))})
        assert client.post(SCORE, json=score()).status_code == 401


def test_a_revoked_key_cuts_its_own_streams_and_no_other(
    gateway: Gateway, slow: Worker, hanging: Worker
) -> None:
    """The one that is cut would have no end of its own, however late the table comes."""
    routes = {"blue": deployment(hanging), "green": deployment(slow)}
    gateway.use({"faq": endpoint("old", **routes)})
    body = chat(stream=True, text="one two three four five six seven eight " * 5)
    with (
        gateway.client("old") as one,
        gateway.client("old-2") as two,
        one.stream("POST", "/v1/chat/completions", json=body) as revoked,
        two.stream("POST", "/v1/chat/completions", json=body | {"model": "faq/green"}) as kept,
    ):
        lines, others = revoked.iter_lines(), kept.iter_lines()
        assert "assistant" in next(lines)
        assert "assistant" in next(others)
        renewed = EndpointRoute(endpoint("new").key_hashes[:1], {"blue": 100}, routes)
        renewed.key_hashes.append(endpoint("old").key_hashes[1])
        gateway.use({"faq": renewed})
        rest = [line for line in lines if line]
        whole = [line for line in others if line]
    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "Unauthenticated"
    assert whole[-1] == "data: [DONE]"
    assert len(rest) < len(whole)


def test_a_revoked_keys_waiting_answer_is_401(gateway: Gateway, hanging: Worker) -> None:
    gateway.use({"faq": endpoint("old", blue=deployment(hanging))})
    with (
        gateway.client("old") as client,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        waiting = pool.submit(client.post, SCORE, json=score())
        concurrent.futures.wait([waiting], timeout=0.3)
        assert not waiting.done()
        gateway.use({"faq": endpoint("new", blue=deployment(hanging))})
        assert waiting.result(timeout=30).status_code == 401
