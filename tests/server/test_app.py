"""The API in process: who gets in, and what errors look like. The nouns are tested in services."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from phoundry.server.app import create_app
from phoundry.settings import Home

CHAT = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}


@pytest.fixture
def app(home: Home) -> Iterator[FastAPI]:
    made = create_app(home)
    yield made
    made.state.context.database.close()


@pytest.fixture
def stranger(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.fixture
def owner(app: FastAPI) -> TestClient:
    headers = {"Authorization": f"Bearer {app.state.token}"}
    return TestClient(app, base_url="http://127.0.0.1", headers=headers)


def routes(app: FastAPI) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    pending: list[Any] = list(app.router.routes)
    while pending:
        route = pending.pop()
        pending.extend(getattr(getattr(route, "original_router", None), "routes", []))
        if isinstance(route, APIRoute):
            path = (
                route.path if route.path.startswith(("/api", "/healthz")) else f"/api{route.path}"
            )
            found += [(method, path) for method in route.methods]
    return found


def test_every_route_but_health_wants_the_token(app: FastAPI, stranger: TestClient) -> None:
    walked = routes(app)
    assert len(walked) > 30
    for method, path in walked:
        answer = stranger.request(method, path.replace("{", "").replace("}", ""))
        expected = 200 if path == "/healthz" else 401
        assert answer.status_code == expected, (method, path)
    assert stranger.get("/openapi.json").status_code == 401
    assert stranger.get("/nowhere").status_code == 401


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=60))
def test_no_other_authorization_gets_in(stranger: TestClient, value: str) -> None:
    for header in (value, f"Bearer {value}", f"bearer{value}"):
        raw = header.encode("latin-1")
        answer = stranger.get("/api/data", headers=[(b"authorization", raw)])
        assert answer.status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:7410"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "127.0.0.1.evil.example"},
    ],
)
def test_other_sites_are_refused(owner: TestClient, headers: dict[str, str]) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert owner.request(method, "/api/data", headers=headers).status_code == 403


def test_an_error_says_what_was_found_and_what_to_do(owner: TestClient) -> None:
    answer = owner.get("/api/endpoints/faq")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "NotFound"
    assert "phoundry endpoint create" in error["remedy"]


def test_faults_of_a_body_come_together(owner: TestClient) -> None:
    answer = owner.post("/api/endpoints", json={"name": "1", "traffic": {"a": 7}, "nmae": 1})
    assert answer.status_code == 400
    places = {fault["where"] for fault in answer.json()["error"]["faults"]}
    assert places == {"name", "traffic", "nmae"}


def test_what_is_not_json_or_too_large(owner: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    answer = owner.post("/api/endpoints", content=b"{not json", headers=headers)
    assert answer.status_code == 400
    large = json.dumps({"name": "x" * (5 << 20)}).encode()
    assert owner.post("/api/endpoints", content=large, headers=headers).status_code == 413
    lying = {"Content-Length": "-5"}
    assert owner.get("/api/data", headers=lying).status_code == 413


def test_data_goes_in_and_comes_out(owner: TestClient) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "y"}]}
        for n in range(5)
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    kept = owner.post("/api/data/files", params={"filename": "faq.jsonl"}, content=content)
    assert kept.status_code == 201
    assert kept.json()["bytes"] == len(content)
    files = [{"filename": "faq.jsonl", "sha256": kept.json()["sha256"]}]
    made = owner.post("/api/data", json={"name": "faq", "files": files})
    assert made.status_code == 201
    assert made.json()["train"]["rows"] == 4
    (held_out,) = owner.get("/api/data/faq/rows", params={"split": "test"}).json()
    train = owner.get("/api/data/faq/export", params={"split": "train"})
    assert train.headers["content-type"].startswith("application/jsonl")
    exported = [json.loads(line) for line in train.text.splitlines()]
    assert exported == [row for row in rows if row != held_out]
    assert owner.delete("/api/data/faq", params={"version": "1"}).json() == ["faq:1"]
    assert owner.get("/api/data/faq").status_code == 404


def test_a_connections_secret_is_answered_to_one_route_alone(owner: TestClient) -> None:
    body = {"name": "faq", "secrets": {"key": "canary"}}
    assert owner.post("/api/connections", json=body).status_code == 201
    for path in ("/api/connections", "/api/connections/faq", "/api/status"):
        assert "canary" not in owner.get(path).text
    assert owner.post("/api/connections/faq/listsecrets").json()["secrets"] == {"key": "canary"}


def test_shutting_down_needs_something_that_runs(owner: TestClient) -> None:
    assert owner.post("/api/shutdown").status_code == 409
    assert owner.get("/api/status").json()["running"] is False


@pytest.mark.parametrize("host", ["[::1].evil.example", "127.0.0.1/evil", "me@127.0.0.1", ""])
def test_a_host_that_only_looks_like_ours(owner: TestClient, host: str) -> None:
    assert owner.get("/api/data", headers={"Host": host}).status_code == 403


def test_of_two_hosts_both_must_be_ours(owner: TestClient) -> None:
    for first, second in (("evil.example", "127.0.0.1"), ("127.0.0.1", "evil.example")):
        hosts = [("Host", first), ("Host", second)]
        assert owner.get("/api/data", headers=hosts).status_code == 403


def test_a_body_in_chunks_is_bounded_too(owner: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(5):
            yield b" " * (1 << 20)

    headers = {"Content-Type": "application/json"}
    answer = owner.post("/api/endpoints", content=pieces(), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "TooLarge"


def test_deep_nesting_is_refused_and_the_server_lives(owner: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    answer = owner.post("/api/endpoints", content=b"[" * 200_000, headers=headers)
    assert answer.status_code == 400
    assert owner.get("/api/data").status_code == 200


@pytest.mark.parametrize(
    ("trouble", "status", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 422, "is full"),
        (OSError(errno.EIO, "Input/output error", "x.jsonl"), 503, "Input/output error: x.jsonl"),
        (OperationalError("insert CANARY", {}, sqlite3.OperationalError("locked")), 503, "locked"),
    ],
)
def test_what_the_machine_refuses_is_said_with_the_way_on(
    owner: TestClient, monkeypatch: pytest.MonkeyPatch, trouble: Exception, status: int, said: str
) -> None:
    def refuse(*_: object) -> None:
        raise trouble

    monkeypatch.setattr("phoundry.services.data.listing", refuse)
    answer = owner.get("/api/data")
    assert answer.status_code == status
    error = answer.json()["error"]
    assert said in error["message"]
    assert error["remedy"]
    assert "CANARY" not in answer.text
