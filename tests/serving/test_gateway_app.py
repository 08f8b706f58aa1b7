"""The gateway through real processes: who is let in, what is answered, in which dialect."""

from __future__ import annotations

import json

import pytest

from phoundry.serving.asgi import BODY_LIMIT
from tests.serving.conftest import Gateway, chat, deployment, endpoint, score
from tests.serving.processes import Worker

ROUTES = [
    ("POST", "/endpoints/faq/score"),
    ("POST", "/endpoints/faq/v1/chat/completions"),
    ("GET", "/endpoints/faq/v1/models"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/models"),
    ("GET", "/"),
    ("GET", "/endpoints"),
    ("DELETE", "/endpoints/faq"),
    ("POST", "/healthz"),
]


@pytest.fixture(autouse=True)
def _table(gateway: Gateway, echo: Worker) -> None:
    gateway.use({"faq": endpoint(blue=deployment(echo)), "other": endpoint("key-of-other")})


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer KEY-OF-FAQ"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic key-of-faq"},
        {"Authorization": "key-of-faq"},
        {"api-key": "key-of-fa"},
        {"x-api-key": "key-of-faq"},
    ],
)
def test_every_route_but_health_needs_a_key(
    gateway: Gateway, method: str, path: str, headers: dict[str, str]
) -> None:
    with gateway.client(None) as client:
        reply = client.request(method, path, headers=headers, json=chat())
        assert reply.status_code == 401
        assert reply.json()["error"]["code"] == "Unauthenticated"
        assert "'faq'" not in reply.text


def test_health_needs_no_key_and_names_no_endpoint(gateway: Gateway) -> None:
    with gateway.client(None) as client:
        reply = client.get("/healthz")
    assert reply.status_code == 200
    assert reply.json() == {"status": "ok", "generation": gateway.generation}


def test_score_answers_as_azure_does(gateway: Gateway) -> None:
    with gateway.client() as client:
        reply = client.post("/endpoints/faq/score", json=score("building permit"))
    assert reply.status_code == 200
    assert "building permit" in reply.json()["output"]
    assert list(reply.json()) == ["output"]
    assert reply.headers["azureml-model-deployment"] == "blue"


@pytest.mark.parametrize("header", ["Authorization", "api-key"])
@pytest.mark.parametrize("key", ["key-of-faq", "key-of-faq-2"])
def test_both_keys_open_in_both_headers(gateway: Gateway, header: str, key: str) -> None:
    value = f"Bearer {key}" if header == "Authorization" else key
    with gateway.client(None) as client:
        reply = client.post("/endpoints/faq/score", json=score(), headers={header: value})
    assert reply.status_code == 200


def test_a_key_sees_only_its_own(gateway: Gateway) -> None:
    with gateway.client("key-of-other") as client:
        own = [model["id"] for model in client.get("/v1/models").json()["data"]]
        foreign = client.post("/endpoints/faq/score", json=score())
        missing = client.post("/endpoints/nothing/score", json=score())
        by_model = client.post("/v1/chat/completions", json=chat())
        listed = client.get("/endpoints/faq/v1/models")
    assert own == ["other"]
    assert foreign.status_code == missing.status_code == by_model.status_code == 404
    assert listed.status_code == 404
    assert foreign.text.replace("faq", "nothing") == missing.text  # it doesn't tell them apart


def test_models_are_named_as_requests_name_them(gateway: Gateway) -> None:
    with gateway.client() as client:
        ids = [model["id"] for model in client.get("/v1/models").json()["data"]]
        assert ids == ["faq", "faq/blue"]
        for name in ids:
            reply = client.post("/v1/chat/completions", json=chat(model=name))
            assert (reply.status_code, reply.json()["model"]) == (200, name)


@pytest.mark.parametrize("body", [b"", b"{", b"not json", b"\xff\xfe", b"[]", b'"x"', b"null"])
@pytest.mark.parametrize("path", ["/endpoints/faq/score", "/v1/chat/completions"])
def test_a_body_that_is_no_json_object_is_400(gateway: Gateway, path: str, body: bytes) -> None:
    with gateway.client() as client:
        reply = client.post(path, content=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "InvalidInput"
    assert "body" in reply.json()["error"]["message"]


def test_deep_nesting_is_refused_and_the_gateway_lives(gateway: Gateway) -> None:
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", content=b"[" * 100_000)
        assert reply.status_code == 400
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/endpoints/faq/score", "/v1/chat/completions"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_large_body_is_413(gateway: Gateway, path: str, *, streamed: bool) -> None:
    content = json.dumps(chat("x" * BODY_LIMIT)).encode()
    parts = (content[i : i + 65536] for i in range(0, len(content), 65536))
    with gateway.client() as client:
        reply = client.post(path, content=parts if streamed else content)
        assert reply.status_code == 413
        assert f"{BODY_LIMIT:,}" in reply.json()["error"]["message"]
        assert client.post("/endpoints/faq/score", json=score()).status_code == 200


def test_dialects_of_errors(gateway: Gateway) -> None:
    with gateway.client() as client:
        azure = client.post("/endpoints/faq/score", json=score(temperature=7)).json()["error"]
        openai = client.post("/v1/chat/completions", json=chat(temperature=7)).json()["error"]
    assert set(azure) == {"code", "message"}
    assert set(openai) == {"message", "type", "param", "code"}
    assert openai["param"] == "temperature"
    assert "temperature" in azure["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Host": "[::1].evil"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
    ],
)
@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/endpoints/faq/score"])
def test_foreign_hosts_and_origins_are_403(
    gateway: Gateway, headers: dict[str, str], path: str
) -> None:
    with gateway.client() as client:
        assert client.get(path, headers=headers).status_code == 403


def test_own_host_and_origin_pass(gateway: Gateway) -> None:
    with gateway.client() as client:
        for host in ("localhost", "127.0.0.1:1234", "[::1]:80", "LOCALHOST:5"):
            headers = {"Host": host, "Origin": "http://localhost:3000"}
            assert client.get("/v1/models", headers=headers).status_code == 200


def test_request_ids(gateway: Gateway) -> None:
    with gateway.client() as client:
        kept = client.get("/v1/models", headers={"x-request-id": "mine-1"})
        made = client.get("/v1/models", headers={"x-request-id": "not {safe}"})
    assert kept.headers["x-request-id"] == "mine-1"
    assert len(made.headers["x-request-id"]) == 32


@pytest.mark.parametrize("model", [None, 5, "", [], {}])
def test_a_missing_model_is_400_by_name(gateway: Gateway, model: object) -> None:
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json={**chat(), "model": model})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "model")


def test_under_an_endpoint_the_model_may_be_left_out_but_not_foreign(gateway: Gateway) -> None:
    path = "/endpoints/faq/v1/chat/completions"
    with gateway.client() as client:
        assert client.post(path, json={**chat(), "model": None}).json()["model"] == "echo:1"
        assert client.post(path, json=chat(model="faq/blue")).status_code == 200
        assert client.post(path, json=chat(model="other")).status_code == 404


def test_no_key_in_any_file_of_the_gateway(gateway: Gateway) -> None:
    with gateway.client() as client:
        client.post("/endpoints/faq/score?api-key=key-of-faq", json=score("a canary"))
        client.post("/endpoints/faq/score", json=score(), headers={"api-key": "wrong-canary"})
    for file in gateway.worker.run_dir.iterdir():
        text = file.read_text()
        assert "key-of-faq" not in text
        assert "replica-token" not in text
        assert "canary" not in text
