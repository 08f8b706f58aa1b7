"""Half of a surrogate pair: JSON can write it, UTF-8 can't. It costs nobody else anything."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from phoundry.serving.asgi import Receive, Scope, Send, read_body, reply_json
from phoundry.serving.batch.answers import ANSWERS, Answers
from phoundry.serving.batch.asking import Asker
from phoundry.serving.batch.requests import Request
from phoundry.serving.batch.scoring import Scoring
from phoundry.serving.replica.collecting import Exchange, Writer

HALF = "\ud83d"


def test_a_batch_asks_it_and_writes_it(tmp_path: Path) -> None:
    asked: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(json.loads(await read_body(scope, receive)))
        await reply_json(send, 200, asked[-1])

    body = {"messages": [{"role": "user", "content": HALF}]}

    async def run() -> None:
        todo = iter([Request(0, HALF, "/v1/chat/completions", body)])
        ask = Asker(app, "token").ask
        scoring = Scoring(todo, Answers.open(tmp_path), ask, 1, lambda counts, seconds: None)
        await asyncio.wait_for(scoring.run(asyncio.Event()), 20)

    asyncio.run(run())
    (record,) = [json.loads(line) for line in (tmp_path / ANSWERS).read_text().splitlines()]
    assert asked == [body]
    assert (record["custom_id"], record["response"]["body"]) == (HALF, body)


def test_the_collector_keeps_it(tmp_path: Path) -> None:
    body = b'{"user": "\\ud83d"}'
    passed = Exchange(("model_inputs",), "one", "/score", "year", asked=[body], answered=[b"{}"])
    Writer(tmp_path, "one", "/x", "m").write([passed])
    (file,) = tmp_path.rglob("*.jsonl")
    assert json.loads(file.read_text())["data"] == [{"user": HALF}]
