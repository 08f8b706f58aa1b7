"""/api/endpoints over HTTP: Azure's names, our errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from phoundry.server.app import create_app
from phoundry.services.context import open_context
from phoundry.settings import Home


@pytest.fixture
def http(home: Home) -> Iterator[TestClient]:
    app = create_app(home, context=open_context(home), token="t")
    headers = {"Authorization": "Bearer t"}
    with TestClient(app, base_url="http://127.0.0.1", headers=headers) as client:
        yield client
    app.state.context.database.close()


def test_tokens_under_azures_names(http: TestClient) -> None:
    made = http.post("/api/endpoints", json={"name": "faq-bot", "auth_mode": "aml_token"})
    assert (made.status_code, made.json()["auth_mode"]) == (201, "aml_token")
    reply = http.post("/api/endpoints/faq-bot/token")  # Azure's client sends no body
    assert reply.status_code == 200
    assert reply.json().keys() == {
        "accessToken",
        "expiryTimeUtc",
        "refreshAfterTimeUtc",
        "tokenType",
    }
    short = http.post("/api/endpoints/faq-bot/token", json={"seconds": 60}).json()
    assert short["expiryTimeUtc"] < reply.json()["expiryTimeUtc"]
    assert http.post("/api/endpoints/faq-bot/token", json={"seconds": 0}).status_code == 400
    refused = http.post("/api/endpoints/faq-bot/listkeys")
    assert refused.status_code == 409
    assert "phoundry endpoint token" in refused.json()["error"]["remedy"]


def test_a_change_is_checked_whole(http: TestClient) -> None:
    http.post("/api/endpoints", json={"name": "faq-bot"})
    path = "/api/endpoints/faq-bot"
    wrong = {"rate_limit": {"requests_per_minute": 0}, "mirror_traffic": {"x": 51}, "mode": 1}
    reply = http.patch(path, json=wrong)
    assert reply.status_code == 400
    assert reply.json()["error"]["total"] == 3
    limited = http.patch(path, json={"rate_limit": {"requests_per_minute": 5}})
    assert limited.json()["rate_limit"] == {"requests_per_minute": 5}
    assert http.patch(path, json={}).json()["rate_limit"] == {"requests_per_minute": 5}
    assert http.patch(path, json={"rate_limit": None}).json()["rate_limit"] is None
