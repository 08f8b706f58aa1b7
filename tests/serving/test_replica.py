"""The replica process itself: life cycle, its token, both dialects' bounds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from phoundry.files import read_json
from tests.serving.conftest import StartReplica, chat, score
from tests.serving.processes import Worker, replica_spec, spawn, start

TOKEN = {"Authorization": "Bearer replica-token"}


def _post(worker: Worker, path: str, body: Any, headers: dict[str, str] = TOKEN) -> httpx.Response:
    return httpx.post(worker.url + path, json=body, headers=headers, timeout=60, trust_env=False)


def test_life(tmp_path: Path, tokenizer_dir: Path) -> None:
    worker = start("phoundry.serving.replica", tmp_path / "run", replica_spec(tokenizer_dir))
    ready = read_json(worker.run_dir / "ready.json")
    assert ready["pid"] == worker.process.pid
    health = httpx.get(f"{worker.url}/health", timeout=60, trust_env=False)
    assert (health.status_code, health.json()["status"]) == (200, "ready")
    assert (health.json()["context_length"], health.json()["slots"]) == (256, 2)
    assert worker.stop() == 0
    assert [event["kind"] for event in worker.events()] == ["started", "ready", "stopping"]
    assert read_json(worker.run_dir / "result.json") == {"status": "succeeded"}
    assert "replica-token" not in worker.log


def test_sigterm_lets_a_request_end(tmp_path: Path, tokenizer_dir: Path) -> None:
    spec = replica_spec(tokenizer_dir, options={"delay_ms": 20})
    worker = start("phoundry.serving.replica", tmp_path / "run", spec)
    with (
        httpx.Client(base_url=worker.url, headers=TOKEN, timeout=60, trust_env=False) as client,
        client.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as reply,
    ):
        lines = reply.iter_lines()
        next(lines)
        worker.process.terminate()
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert worker.process.wait(60) == 0


def test_a_warm_up_that_fails_is_no_ready_replica(tmp_path: Path, tokenizer_dir: Path) -> None:
    spec = replica_spec(tokenizer_dir, options={"fail_after": 0})
    worker = spawn("phoundry.serving.replica", tmp_path / "run", spec)
    assert worker.process.wait(60) == 1
    assert not (worker.run_dir / "ready.json").exists()
    assert read_json(worker.run_dir / "result.json")["error"]["code"] == "ModelError"


@pytest.mark.parametrize("changes", [{"engine": "vapour"}, {"engine": "llama.cpp"}])
def test_a_spec_that_cannot_be_served(
    tmp_path: Path, tokenizer_dir: Path, changes: dict[str, Any]
) -> None:
    spec = replica_spec(tokenizer_dir, **changes)
    worker = spawn("phoundry.serving.replica", tmp_path / "run", spec)
    assert worker.process.wait(60) == 1
    message = read_json(worker.run_dir / "result.json")["error"]["message"]
    assert "vapour" in message or "gguf_path" in message


def test_only_health_answers_without_the_token(echo: Worker) -> None:
    for path in ("/score", "/v1/chat/completions", "/nothing", "/health"):
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert _post(echo, path, chat(), headers).status_code == 401


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 2.01),
        ("temperature", -0.1),
        ("temperature", "warm"),
        ("temperature", True),
        ("top_p", 0),
        ("top_p", 1.5),
        ("top_k", -1),
        ("top_k", 1.5),
        ("n", 2),
        ("n", 0),
        ("max_tokens", 0),
        ("max_tokens", 257),
        ("max_completion_tokens", 10_000),
        ("presence_penalty", 3),
        ("frequency_penalty", -2.5),
        ("seed", "x"),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("stop", ""),
        ("stop", [1]),
        ("stream", "yes"),
        ("logprobs", 1),
        ("top_logprobs", 3),
        ("tools", [{"type": "function"}]),
        ("tool_choice", "required"),
        ("logit_bias", {"5": 1}),
        ("response_format", {"type": "grammar"}),
        ("max_token", 5),
        ("messages", list[str]()),
        ("messages", "hi"),
        ("messages", None),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(echo: Worker, name: str, value: object) -> None:
    reply = _post(echo, "/v1/chat/completions", {**chat(), name: value})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == name
    assert f"'{name}'" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "robot", "content": "x"},
        {"role": "user"},
        {"role": "user", "content": 5},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        "x",
    ],
)
def test_bad_messages_are_refused_by_place(echo: Worker, message: object) -> None:
    messages = [{"role": "user", "content": "x"}, message]
    reply = _post(echo, "/v1/chat/completions", {"messages": messages})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"].startswith("messages[1]")


def test_openais_parts_and_roles(echo: Worker) -> None:
    parts = [{"type": "text", "text": "Who "}, {"type": "text", "text": "founded"}]
    messages = [{"role": "developer", "content": "Be"}, {"role": "user", "content": parts}]
    reply = _post(echo, "/v1/chat/completions", {"messages": messages})
    content = reply.json()["choices"][0]["message"]["content"]
    assert "system\nBe" in content
    assert "Who founded" in content


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"temperature": 9}, "temperature"),
        ({"do_sample": True, "temperature": 0}, "temperature"),
        ({"do_sample": 1}, "do_sample"),
        ({"max_new_tokens": 500}, "max_new_tokens"),
        ({"max_length": 5}, "max_length"),
    ],
)
def test_score_refuses_by_name(echo: Worker, parameters: dict[str, Any], named: str) -> None:
    reply = _post(echo, "/score", score(**parameters))
    assert reply.status_code == 400
    assert f"'{named}'" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [{}, {"input_data": 5}, {"input_data": {}}, {"input_data": {"input_string": "hi"}}],
)
def test_score_without_a_conversation_is_400(echo: Worker, body: dict[str, Any]) -> None:
    assert _post(echo, "/score", body).status_code == 400


def test_score_returns_the_prompt_when_asked(echo: Worker) -> None:
    plain = _post(echo, "/score", score(max_new_tokens=2)).json()["output"]
    full = _post(echo, "/score", score(max_new_tokens=2, return_full_text=True)).json()["output"]
    assert full.endswith(plain)
    assert "Who founded Microsoft?" in full
    assert "Who founded" not in plain


def test_a_conversation_beyond_the_context_is_400_with_counts(echo: Worker) -> None:
    reply = _post(echo, "/v1/chat/completions", chat("permit " * 300))
    message = reply.json()["error"]["message"]
    assert reply.status_code == 400
    assert "256 tokens" in message
    assert "The conversation has " in message


def test_the_answer_ends_at_the_context(echo: Worker) -> None:
    """A prompt of over half of the context leaves less than the echo would take."""
    reply = _post(echo, "/v1/chat/completions", chat("x" * 180)).json()
    assert reply["usage"]["total_tokens"] == 256
    assert reply["choices"][0]["finish_reason"] == "length"


def test_a_client_that_leaves_frees_its_slot(start_replica: StartReplica) -> None:
    worker = start_replica(name="one", slots=1, options={"hang_after": 2})
    for _ in range(3):
        with (
            httpx.Client(base_url=worker.url, headers=TOKEN, timeout=60, trust_env=False) as client,
            client.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as reply,
        ):
            assert "assistant" in next(reply.iter_lines())


def test_a_replica_without_transformers_engine_imports_no_torch() -> None:
    code = (
        "import sys, phoundry.serving.replica.__main__, phoundry.serving.engines.llamacpp, "
        "phoundry.serving.gateway.__main__\n"
        "print([m for m in ('torch', 'transformers', 'mlflow', 'xllamacpp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", ["/health", "/score", "/v1/chat/completions"])
@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}]
)
def test_foreign_hosts_and_origins_are_403(
    echo: Worker, path: str, headers: dict[str, str]
) -> None:
    authorised = {"Authorization": "Bearer replica-token", **headers}
    with httpx.Client(base_url=echo.url, headers=authorised, timeout=60, trust_env=False) as client:
        for method in ("GET", "POST", "OPTIONS"):
            assert client.request(method, path).status_code == 403
