"""What the gateway counts, against what happened; read by a strict parser."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.errors import ModelError, NotFound, Unauthenticated
from phoundry.serving.exposition import DURATION, EACH_TOKEN, Histogram, head, sample
from phoundry.serving.gateway.exchange import Exchange
from phoundry.serving.gateway.harvest import EACH, TOKENS, Harvest
from phoundry.serving.gateway.metrics import Metrics, in_flight
from phoundry.serving.gateway.metrics_page import TOKEN_FILE, token_of
from phoundry.serving.gateway.routes import DeploymentRoute, EndpointRoute, RoutingTable
from phoundry.serving.gateway.routing import Router
from phoundry.serving.gateway.upstream import Upstream
from phoundry.serving.replica.metrics import Metrics as ReplicaMetrics
from tests.serving.conftest import Gateway, StartReplica, chat, deployment, endpoint
from tests.serving.processes import wait_for
from tests.serving.prometheus import Family, parse

REQUESTS = "gen_ai_server_request_duration_seconds"
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20)


@given(st.lists(st.floats(0, 200) | st.sampled_from(DURATION)), TEXTS)
def test_a_histogram_counts_what_is_at_most_its_bound(values: list[float], label: str) -> None:
    histogram = Histogram(DURATION)
    for value in values:
        histogram.record(value)
    lines = head("x", "histogram", label) + "".join(histogram.lines("x", {"name": label}))
    # Prometheus ends a line at a line feed alone.
    escaped = label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    found = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in lines.split("\n")}
    for bound in DURATION:
        at_most = sum(value <= bound for value in values)
        assert found[f'x_bucket{{name="{escaped}",le="{bound}"}}'] == str(at_most)
    assert found[f'x_count{{name="{escaped}"}}'] == str(len(values))
    assert float(found[f'x_sum{{name="{escaped}"}}']) == pytest.approx(sum(values))


@pytest.fixture
def router() -> Router:
    made = Router()
    deployments = {"blue": DeploymentRoute(), "next": DeploymentRoute()}
    route = EndpointRoute([], {"blue": 100}, deployments)
    other = EndpointRoute([], {}, {"blue": DeploymentRoute()})
    made.update(RoutingTable(1, {"faq": route, "other": other}))
    return made


def exchange(router: Router, endpoint: str | None = "faq", **changes: Any) -> Exchange:
    """An exchange that has been answered by `blue`, or by nobody."""

    async def nothing(*_: object) -> Any: ...

    path = changes.pop("path", "/v1/chat/completions")
    deployment = changes.pop("deployment", "blue")
    made = Exchange({"path": path, "headers": []}, nothing, nothing, "id")
    if endpoint is not None:
        made.deployment = router.endpoints[endpoint].deployments[deployment]
    for name, value in {"status": 200, "answered": made.began + 0.5, **changes}.items():
        setattr(made, name, value)
    return made


def read(metrics: Metrics, names: frozenset[str] | None = None) -> dict[str, Family]:
    return parse("".join(metrics.text(names)))


def count(family: Family, name: str, **labels: str) -> float:
    """Of all series of a histogram that have these labels."""
    return sum(
        value
        for (sample, has), value in family.samples.items()
        if sample == f"{name}_count" and labels.items() <= dict(has).items()
    )


def test_answers_are_counted_by_endpoint_deployment_operation_and_status(router: Router) -> None:
    metrics = Metrics()
    metrics.finish(exchange(router, usage="12,34"))
    metrics.finish(exchange(router, path="/endpoints/faq/score", status=424))
    metrics.finish(exchange(router, "other", path="/v1/completions"))
    metrics.finish(exchange(router, "other", path="/v1/embeddings", status=0))
    metrics.finish(exchange(router, None))  # a listing of models
    families = read(metrics)
    requests = families[REQUESTS]
    assert count(requests, REQUESTS) == 3
    chat = {"gen_ai_operation_name": "chat", "gen_ai_request_model": "faq", "deployment": "blue"}
    assert count(requests, REQUESTS, **chat, status="2xx") == 1
    assert count(requests, REQUESTS, **chat, status="4xx", error_type="424") == 1
    assert count(requests, REQUESTS, gen_ai_operation_name="text_completion") == 1
    assert families["phoundry_gateway_clients_left_total"].of(endpoint="other") == 1
    used = families["gen_ai_client_token_usage"]
    sums = {dict(has)["gen_ai_token_type"]: v for (n, has), v in used.samples.items() if "sum" in n}
    assert sums == {"input": 12, "output": 34}


def test_streams_tell_when_they_began(router: Router) -> None:
    metrics = Metrics()
    metrics.finish(exchange(router, streamed=True))
    metrics.finish(exchange(router))
    broken = exchange(router)
    metrics.refused(broken, ModelError("it broke off"))
    metrics.finish(broken)
    assert count(read(metrics)[REQUESTS], REQUESTS, status="2xx", error_type="ModelError") == 1
    name = "gen_ai_server_time_to_first_token_seconds"
    first = read(metrics)[name]
    assert count(first, name) == 1
    (total,) = (value for (sample, _), value in first.samples.items() if sample.endswith("_sum"))
    assert total == pytest.approx(0.5)


def test_refusals_are_counted_by_reason_where_it_is_known_whose(router: Router) -> None:
    metrics = Metrics()
    metrics.refused(exchange(router, None, status=0), Unauthenticated("x"))
    metrics.refused(exchange(router, status=0), NotFound("x"))
    metrics.refused(exchange(router), NotFound("in a stream that has begun"))
    refused = read(metrics)["phoundry_gateway_refused_total"]
    assert sum(refused.samples.values()) == 2
    assert refused.of(reason="Unauthenticated", endpoint="") == 1
    assert refused.of(reason="NotFound", endpoint="faq") == 1


def test_copies_are_counted_with_what_became_of_them(router: Router) -> None:
    metrics = Metrics()
    metrics.mirrored(exchange(router, deployment="next"))
    metrics.mirrored(exchange(router, deployment="next", status=424))
    metrics.dropped(router.endpoints["faq"].deployments["next"])
    families = read(metrics)
    mirrored = families["phoundry_gateway_mirrored_total"]
    outcomes = {dict(has)["outcome"]: value for (_, has), value in mirrored.samples.items()}
    assert outcomes == {"200": 1, "424": 1, "dropped": 1}
    assert count(families[REQUESTS], REQUESTS, deployment="next") == 2


def test_a_key_sees_its_endpoint_alone_and_what_is_gone_is_forgotten(router: Router) -> None:
    metrics = Metrics()
    for name in ("faq", "other"):
        metrics.finish(exchange(router, name))
    metrics.refused(exchange(router, None, status=0), Unauthenticated("x"))
    only = "".join(metrics.text(frozenset({"other"})))
    assert "faq" not in only
    assert "Unauthenticated" not in only
    assert count(parse(only)[REQUESTS], REQUESTS) == 1
    metrics.forget({"faq"})
    assert "other" not in "".join(metrics.text())
    assert read(metrics)["phoundry_gateway_refused_total"].of(endpoint="") == 1


def test_what_is_under_way_is_a_gauge(router: Router) -> None:
    limiter = router.endpoints["faq"].deployments["blue"].limiter

    async def fill() -> None:
        limiter.resize(1)
        await limiter.enter()
        waiting = asyncio.ensure_future(limiter.enter())
        await asyncio.sleep(0)
        families = parse("".join(in_flight(router.endpoints.values())))
        running = families["phoundry_gateway_requests_running"]
        assert running.of(endpoint="faq", deployment="blue") == 1
        assert running.of(endpoint="other", deployment="blue") == 0
        waits = families["phoundry_gateway_requests_waiting"]
        assert waits.of(endpoint="faq", deployment="blue") == 1
        waiting.cancel()

    asyncio.run(fill())


class Replica:
    """A replica that has answered some streams, and may start anew."""

    def __init__(self) -> None:
        self.upstream = Upstream("http://127.0.0.1:1", "token")
        self.metrics = ReplicaMetrics()

    def stream(self, prompt: int, tokens: int) -> None:
        with self.metrics.passage("chat") as passage:
            passage.prompt_tokens, passage.status = prompt, 200
            for done in range(1, tokens + 1):
                passage.piece(done)


def test_tokens_add_up_over_looks_replicas_and_their_restarts() -> None:
    harvest = Harvest()
    one, two = Replica(), Replica()

    def look() -> dict[str, Family]:
        for replica in (one, two):
            harvest.add("faq", "blue", replica.upstream, replica.metrics.text())
        return parse("".join(harvest.text(None)))

    one.stream(10, 3)
    two.stream(5, 2)
    for _ in range(2):  # looking changes nothing
        families = look()
        assert families[TOKENS].of(gen_ai_token_type="input") == 15
        assert families[TOKENS].of(gen_ai_token_type="output") == 5
        assert count(families[EACH], EACH, gen_ai_operation_name="chat") == 2
    one.stream(1, 1)  # a single token has no time for each after the first
    two.metrics = ReplicaMetrics()
    two.stream(2, 4)
    families = look()
    assert families[TOKENS].of(gen_ai_token_type="input") == 18
    assert families[TOKENS].of(gen_ai_token_type="output") == 10
    assert count(families[EACH], EACH) == 3
    assert "faq" not in "".join(harvest.text(frozenset({"other"})))


def test_a_streams_tokens_are_asked_of_its_replica(
    gateway: Gateway, start_replica: StartReplica
) -> None:
    # One that nobody else asks: a look that it does not answer within a second passes it over.
    gateway.use({"faq": endpoint("key-of-tokens", blue=deployment(start_replica(name="counted")))})

    def told(client: httpx.Client) -> dict[str, float]:
        family = parse(client.get("/metrics").text)[TOKENS]
        return {dict(has)["gen_ai_token_type"]: value for (_, has), value in family.samples.items()}

    with gateway.client("key-of-tokens") as client:
        before = told(client)  # of the replicas that it had in other tests
        stream = chat(stream=True, stream_options={"include_usage": True})
        reply = client.post("/v1/chat/completions", json=stream)
        usage = json.loads(reply.text.split("data: ")[-2])["usage"]
        wait_for(lambda: told(client).get("output", 0) > before.get("output", 0))
        after = told(client)
    assert usage["completion_tokens"] > 0
    assert after["input"] - before.get("input", 0) == usage["prompt_tokens"]
    assert after["output"] - before.get("output", 0) == usage["completion_tokens"]
    token = (gateway.worker.run_dir / TOKEN_FILE).read_text().strip()
    with gateway.client(token) as client:
        assert told(client)["output"] == after["output"]


@given(st.lists(st.floats(0, 5), max_size=20), st.integers(0, 20))
def test_buckets_come_over_whole(values: list[float], early: int) -> None:
    harvest, upstream, replica = (
        Harvest(),
        Upstream("http://127.0.0.1:1", "t"),
        Histogram(EACH_TOKEN),
    )
    for number, value in enumerate(values):
        if number == early:
            harvest.add("faq", "blue", upstream, "".join(replica.lines(EACH, {"dialect": "chat"})))
        replica.record(value)
    harvest.add("faq", "blue", upstream, "".join(replica.lines(EACH, {"dialect": "chat"})))
    theirs = parse(head(EACH, "histogram", "") + "".join(replica.lines(EACH, {})))[EACH]
    ours = parse("".join(harvest.text(None)))[EACH]
    bare = {
        (name, frozenset(pair for pair in has if pair[0] == "le")): value
        for (name, has), value in ours.samples.items()
    }
    assert bare == pytest.approx(theirs.samples)


def test_samples_without_labels_are_bare() -> None:
    assert sample("x", {}, 2.0) == "x 2\n"
    assert sample("x", {"a": "b"}, 0.25) == 'x{a="b"} 0.25\n'


def test_the_token_stays_and_is_ours_alone(tmp_path: Path) -> None:
    token = token_of(tmp_path)
    path = tmp_path / TOKEN_FILE
    assert len(token) >= 43  # 256 bits
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token_of(tmp_path) == token
    path.chmod(0o644)  # others may have read it
    assert token_of(tmp_path) != token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("")
    assert len(token_of(tmp_path)) >= 43
