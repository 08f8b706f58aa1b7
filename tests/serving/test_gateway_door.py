"""Who the gateway lets in and what it tells them, without processes: pages, rates, metrics."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.errors import Unauthenticated
from phoundry.serving.gateway.access import AccessLog
from phoundry.serving.gateway.app import GatewayApp
from phoundry.serving.gateway.auth import hash_key
from phoundry.serving.gateway.cors import Origins
from phoundry.serving.gateway.metrics_page import MetricsPage
from phoundry.serving.gateway.routes import DeploymentRoute, EndpointRoute, RoutingTable
from phoundry.serving.gateway.routing import Router
from phoundry.serving.hosts import HostCheck
from tests.serving.prometheus import parse

PAGE, OTHER, OWN = "https://example.org", "https://other.example", "http://localhost:3000"
WATCHER = "token-of-the-metrics"
ENDPOINTS = {"named": [PAGE, OWN], "any": ["*"], "closed": []}
NOBODY = "nobodys"


class Door:
    """The application on a table of its own, called in process."""

    def __init__(self, folder: Path) -> None:
        self.router = Router(patience=0.0)
        self.app = GatewayApp(
            self.router,
            HostCheck(),
            AccessLog(folder / "access.jsonl"),
            MetricsPage(self.router, WATCHER),
        )
        self.use({name: route(name, allowed_origins=of) for name, of in ENDPOINTS.items()})

    def use(self, endpoints: dict[str, EndpointRoute]) -> None:
        self.router.update(RoutingTable(self.router.generation + 1, endpoints))

    def ask(self, method: str, path: str, key: str | None = None, **headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        body: Any = {"model": "named", "messages": []} if method == "POST" else None

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)  # pyright: ignore[reportArgumentType]
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
                return await http.request(method, path, headers=given, json=body)

        return asyncio.run(go())


def route(key: str, **changes: Any) -> EndpointRoute:
    return EndpointRoute([hash_key(key)], {"blue": 100}, {"blue": DeploymentRoute()}, **changes)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


PREFLIGHT = {"access_control_request_method": "POST"}


@pytest.mark.parametrize("origin", [PAGE, "HTTPS://EXAMPLE.ORG:443", OTHER, OWN, "null"])
def test_a_preflight_is_answered_where_some_endpoint_allows_the_page(
    door: Door, origin: str
) -> None:
    wanted = "authorization,content-type,x-stainless-lang"
    reply = door.ask(
        "OPTIONS",
        "/v1/chat/completions",
        origin=origin,
        access_control_request_headers=wanted,
        access_control_request_private_network="true",
        **PREFLIGHT,
    )
    assert reply.status_code == 204
    assert reply.content == b""
    headers = reply.headers
    assert headers["access-control-allow-origin"] == origin  # one of the endpoints allows any
    assert headers["access-control-allow-headers"] == wanted
    assert headers["access-control-allow-private-network"] == "true"
    assert headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in headers
    assert "POST" in headers["access-control-allow-methods"]


def test_headers_that_no_browser_names_are_not_echoed(door: Door) -> None:
    reply = door.ask(
        "OPTIONS", "/v1/models", origin=PAGE, access_control_request_headers="x;y", **PREFLIGHT
    )
    assert "authorization" in reply.headers["access-control-allow-headers"]
    assert ";" not in reply.headers["access-control-allow-headers"]


# Of each origin: which endpoints its pages may read, and which answer all the same.
MATRIX = {
    PAGE: ({"named", "any"}, set[str]()),
    OTHER: ({"any"}, set[str]()),
    "null": ({"any"}, set[str]()),
    OWN: ({"named", "any"}, {"closed"}),  # a page of this machine: its browser keeps the answer
    "http://127.0.0.1:5": ({"any"}, {"named", "closed"}),
}


@pytest.mark.parametrize("origin", MATRIX)
@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_page_reads_the_answers_of_endpoints_that_allow_it(
    door: Door, name: str, origin: str
) -> None:
    readable, answered = MATRIX[origin]
    for method, path in (("GET", "/v1/models"), ("POST", f"/endpoints/{name}/score")):
        reply = door.ask(method, path, name, origin=origin)
        allowed = reply.headers.get("access-control-allow-origin")
        assert allowed == (origin if name in readable else None)
        assert (reply.status_code == 403) == (name not in readable | answered)
        if name in readable:  # errors too: no replica is ready
            assert reply.status_code == (200 if method == "GET" else 503)
            exposed = reply.headers["access-control-expose-headers"]
            assert {"x-request-id", "azureml-model-deployment", "retry-after"} <= set(
                exposed.split(", ")
            )


@given(
    st.sampled_from(["https", "http", "HTTPS", "ftp"]),
    st.sampled_from(["example.org", "EXAMPLE.org", "a.example.org", "example.org.evil", "x"]),
    st.sampled_from(["", ":443", ":80", ":8080", "/", "@evil", ", https://example.org", " "]),
)
def test_an_origin_is_allowed_whole_or_not_at_all(scheme: str, host: str, end: str) -> None:
    origin = f"{scheme}://{host}{end}".encode()
    same = (scheme.lower(), host.lower()) == ("https", "example.org") and end in ("", ":443")
    assert (origin in Origins({"one": [PAGE], "two": [OTHER]})) == same
    assert Origins({"one": [PAGE], "two": []}).allowing(["one", "two"], origin) == (
        {"one"} if same else set()
    )


def test_a_page_learns_that_its_key_is_wrong(door: Door) -> None:
    reply = door.ask("GET", "/v1/models", NOBODY, origin=PAGE)
    assert reply.status_code == 401
    assert reply.headers["access-control-allow-origin"] == PAGE


def test_without_endpoints_that_allow_pages_all_is_as_before(door: Door) -> None:
    door.use({"closed": route("closed")})
    for method, path in (("OPTIONS", "/v1/models"), ("GET", "/v1/models"), ("GET", "/healthz")):
        reply = door.ask(method, path, "closed", origin=PAGE, **PREFLIGHT)
        assert reply.status_code == 403
        assert "access-control-allow-origin" not in reply.headers
    own = door.ask("OPTIONS", "/v1/models", origin=OWN, **PREFLIGHT)
    assert own.status_code == 401
    assert "access-control-allow-origin" not in own.headers
    plain = door.ask("GET", "/v1/models", "closed")
    assert plain.status_code == 200
    assert "vary" not in plain.headers


def test_a_foreign_host_is_refused_whatever_the_origin(door: Door) -> None:
    assert door.ask("GET", "/v1/models", "any", origin=PAGE, host="evil.example").status_code == 403


def test_a_key_that_asks_too_often_is_told_when_to_come_back(door: Door) -> None:
    slow = route("named", requests_per_minute=1)
    door.use({"named": slow, "other": route("other")})
    assert door.ask("POST", "/v1/chat/completions", "named").status_code == 503  # let in
    refused = door.ask("POST", "/v1/chat/completions", "named")
    azure = door.ask("POST", "/endpoints/named/score", "named")
    assert refused.status_code == azure.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["error"]["code"] == azure.json()["error"]["code"] == "RateLimitExceeded"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert door.ask("GET", "/v1/models", "named").status_code == 200
    assert door.ask("POST", "/endpoints/other/score", "other").status_code == 503
    door.use({"named": slow})  # a new table forgets nothing
    assert door.ask("POST", "/endpoints/named/score", "named").status_code == 429
    door.use({"named": route("named")})
    assert door.ask("POST", "/endpoints/named/score", "named").status_code == 503


def test_a_token_opens_until_it_ends(door: Door) -> None:
    now = int(time.time())
    tokens = {hash_key("good"): now + 3600, hash_key("late"): now}
    door.use({"faq": EndpointRoute([], {}, {}, tokens=tokens)})
    assert door.ask("GET", "/v1/models", "good").status_code == 200
    late = door.ask("GET", "/v1/models", "late")
    assert late.status_code == 401
    assert "phoundry endpoint token faq" in late.json()["error"]["message"]


def test_what_a_token_let_in_goes_on_and_what_a_lost_key_let_in_does_not(door: Door) -> None:
    ends = int(time.time()) + 3600
    both = EndpointRoute([hash_key("key")], {}, {}, tokens={hash_key("token"): ends})
    door.use({"faq": both})

    async def hold(key: bytes) -> str:
        try:
            with door.router.passages.hold("faq", key):
                await asyncio.sleep(0.01)
        except Unauthenticated as error:
            return error.message
        return "went on"

    async def change() -> list[str]:
        held = [asyncio.create_task(hold(key)) for key in (b"key", b"token")]
        await asyncio.sleep(0)
        door.use({"faq": EndpointRoute([hash_key("another")], {}, {})})
        return await asyncio.gather(*held)

    key, token = asyncio.run(change())
    assert "revoked" in key
    assert token == "went on"


def test_metrics_open_to_their_token_and_of_an_endpoint_to_its_key(door: Door) -> None:
    door.ask("POST", "/endpoints/named/score", "named")
    door.ask("POST", "/endpoints/any/score", "any")
    door.ask("POST", "/endpoints/any/score", NOBODY)
    everything = door.ask("GET", "/metrics", WATCHER)
    assert everything.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = parse(everything.text)
    refused = families["phoundry_gateway_refused_total"]
    assert refused.of(endpoint="any", reason="Unavailable") == 1
    assert refused.of(endpoint="", reason="Unauthenticated") == 1
    own = door.ask("GET", "/metrics", "any").text
    assert parse(own).keys() == families.keys()
    assert '"named"' not in own
    assert "Unauthenticated" not in own
    running = parse(own)["phoundry_gateway_requests_running"]
    assert running.of(endpoint="any", deployment="blue") == 0
    for key in (None, NOBODY, WATCHER + "x"):
        assert door.ask("GET", "/metrics", key).status_code == 401
    assert door.ask("POST", "/metrics", WATCHER).status_code == 401
    assert door.ask("GET", "/v1/models", WATCHER).status_code == 401
