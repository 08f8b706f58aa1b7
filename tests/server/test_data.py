from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from phoundry.errors import Cancelled
from phoundry.server import security
from phoundry.server.app import create_app
from phoundry.services.uploads import folder_of
from phoundry.settings import Home

HEADERS = {"Authorization": "Bearer t"}
SPEC = {"name": "faq", "files": [{"filename": "faq.jsonl", "sha256": "0" * 64}]}


def test_a_creation_ends_when_its_caller_goes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def create(context: Any, spec: Any, stopped: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if stopped():
                ended.append(spec.name)
                raise Cancelled("Nobody waits.")
            time.sleep(0.01)

    monkeypatch.setattr("phoundry.services.data.create", create)
    app = create_app(home, token="t")
    body = json.dumps(SPEC).encode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/data",
        "raw_path": b"/api/data",
        "query_string": b"",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"authorization", b"Bearer t"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
    }
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    asyncio.run(app(scope, receive, send))
    app.state.context.database.close()
    assert ended == ["faq"]


def test_an_upload_over_the_limit_leaves_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "MAX_BODY", 5_000_000)
    app = create_app(home, token="t")
    owner = TestClient(app, base_url="http://127.0.0.1", headers=HEADERS)

    def pieces() -> Any:
        for _ in range(60):
            yield b"x" * 100_000

    for content in (b"x" * 6_000_000, pieces()):
        answer = owner.post("/api/data/files", params={"filename": "a"}, content=content)
        assert answer.status_code == 413
        assert "split it into several" in answer.json()["error"]["remedy"]
    folder = folder_of(app.state.context)
    assert not folder.exists() or list(folder.iterdir()) == []
    assert owner.post("/api/data/files", content=b"x").status_code == 400
    app.state.context.database.close()
