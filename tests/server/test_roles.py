"""Every operation by a principal without rights: the table of routes is the list of operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from phoundry.server.app import create_app
from phoundry.services.context import NOBODY, Principal, open_context
from phoundry.settings import Home
from tests.server.test_app import routes

# What each route that reads a body takes; the names need not be there.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/data"): {"name": "faq", "files": [{"filename": "f", "sha256": "0" * 64}]},
    ("POST", "/api/jobs"): {"model": "m", "training_data": "d"},
    ("POST", "/api/job-plans"): {"model": "m", "training_data": "d"},
    ("POST", "/api/models"): {"name": "m", "job": "j"},
    ("POST", "/api/endpoints"): {"name": "faq"},
    ("PATCH", "/api/endpoints/{name}"): {"traffic": {"blue": 100}},
    ("POST", "/api/endpoints/{name}/regeneratekeys"): {"keyType": "primary"},
    ("POST", "/api/endpoints/{endpoint}/deployments"): {
        "name": "blue",
        "endpoint_name": "faq",
        "model": "smollm2-135m-instruct",
    },
    ("PATCH", "/api/endpoints/{endpoint}/deployments/{name}"): {"defaults": {"temperature": 1}},
    ("POST", "/api/connections"): {"name": "faq"},
    ("PUT", "/api/connections/{name}"): {"name": "faq"},
    ("PUT", "/api/flows/settings"): {"path": "/f"},
    ("POST", "/api/apply/plan"): {"documents": []},
    ("POST", "/api/apply/documents"): {"kind": "endpoint", "spec": {"name": "faq"}},
    ("POST", "/api/apply/traffic"): {"kind": "endpoint", "spec": {"name": "faq"}},
    ("POST", "/api/journeys"): {
        "name": "faq",
        "data": "faq",
        "model": "m",
        "flow_path": "/f",
    },
}
QUERY = {"name": "faq", "filename": "faq.jsonl", "path": "/f", "other": "faq", "model": "m"}


def app_of(home: Home, principal: Principal) -> FastAPI:
    return create_app(home, context=open_context(home).acting(principal), token="t")


@pytest.fixture
def nobody(home: Home) -> Iterator[FastAPI]:
    app = app_of(home, NOBODY)
    yield app
    app.state.context.database.close()


def call(app: FastAPI, method: str, path: str) -> int:
    headers = {"Authorization": "Bearer t"}
    client = TestClient(app, base_url="http://127.0.0.1", headers=headers)
    filled = path.replace("{name}", "faq").replace("{endpoint}", "faq")
    body = BODIES.get((method, path))
    return client.request(method, filled, params=QUERY, json=body).status_code


def test_nobody_may_do_anything(nobody: FastAPI) -> None:
    walked = [(method, path) for method, path in routes(nobody) if path != "/healthz"]
    assert len(walked) > 30
    assert BODIES.keys() <= set(walked)
    answers = {operation: call(nobody, *operation) for operation in walked}
    assert {operation: code for operation, code in answers.items() if code != 403} == {}


def test_one_who_may_read_endpoints_may_nothing_else(home: Home) -> None:
    app = app_of(home, Principal("reader", frozenset({"endpoints/read"})))
    allowed = {
        operation
        for operation in routes(app)
        if operation[1] != "/healthz" and call(app, *operation) != 403
    }
    app.state.context.database.close()
    assert allowed == {("GET", "/api/endpoints"), ("GET", "/api/endpoints/{name}")}
