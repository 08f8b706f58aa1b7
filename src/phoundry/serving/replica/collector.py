"""Keeping what was asked and answered, where a deployment's `data_collector` asks for it.

Files, of mode 0600, in the deployment's folder of `collected/` of the home:

    model_inputs|model_outputs/YYYY/MM/DD/HH/REPLICA.jsonl

A line is a record in Azure ML's shape (CloudEvents): `data` holds the request's body, or the answer
(of a stream: joined); `correlationid` is the request's id, the same in both collections.

`Collecting` stands before the replica's application and looks at bytes alone. Whether a request is
kept its id decides, so the two collections keep the same ones and a retry is no second chance.
Everything else (parsing, joining, writing) happens on a thread, off the way of requests: no client
waits for a disk. Where the disk is slower than the requests, records are dropped and counted. Only
whole answers with status 200 are kept.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from phoundry.serving.asgi import Message, Receive, Scope, Send, header
from phoundry.serving.paths import CHAT, COMPLETIONS, EMBEDDINGS, SCORE
from phoundry.serving.replica.collecting import Exchange, Writer
from phoundry.serving.replica.live import Live
from phoundry.specs.collection import DataCollector

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

PATHS = frozenset({CHAT, COMPLETIONS, EMBEDDINGS, SCORE})
LOOK_SECONDS = 0.5  # between two looks whether the settings have changed
_WHOLE = 2**64


def kept_share(request_id: str) -> float:
    """Where a request stands between 0 and 1, evenly, and always at the same place."""
    digest = hashlib.blake2b(request_id.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest) / _WHOLE


def chosen(settings: DataCollector, request_id: str) -> tuple[str, ...]:
    """The collections that keep this request."""
    place = kept_share(request_id)
    return tuple(
        name
        for name, collection in settings.collections.items()
        if collection.enabled
        and place
        < (settings.sampling_rate if collection.sampling_rate is None else collection.sampling_rate)
    )


def live_collector(spec_path: Path) -> Live[DataCollector | None]:
    """The settings of one spec.json (`data_collector`), as they stand about now; None: nothing."""
    return Live(spec_path, _settings, None, LOOK_SECONDS)


def _settings(spec: dict[str, Any]) -> DataCollector | None:
    written = spec.get("data_collector")
    return DataCollector.model_validate(written) if written else None


class Collecting:
    """The application of a replica, with a copy of what passes for those who asked for it."""

    def __init__(
        self, app: Application, settings: Callable[[], DataCollector | None], writer: Writer
    ) -> None:
        self._app = app
        self._settings = settings
        self._writer = writer

    @classmethod
    def of(cls, app: Application, spec: dict[str, Any], run_dir: Path) -> Collecting:
        """For the replica of `run_dir`, whose spec names `collect_dir` and `data_collector`."""
        endpoint, _, deployment = str(spec.get("name", "")).partition("/")
        source = f"/onlineEndpoints/{endpoint}/deployments/{deployment}"
        folder = Path(spec.get("collect_dir") or run_dir / "collected")
        model = str(spec.get("model") or spec["model_name"])
        writer = Writer(folder, run_dir.name, source, model)
        return cls(app, live_collector(run_dir / "spec.json"), writer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        settings = self._settings()
        if settings is None or scope["type"] != "http" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
            return
        given = header(scope, b"x-request-id")
        request_id = given.decode("latin-1") if given else str(uuid.uuid4())
        names = chosen(settings, request_id)
        if not names:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(names, request_id, scope["path"], settings.rolling_rate)
        await self._app(scope, _heard(receive, exchange), _told(send, exchange))
        if exchange.complete:
            exchange.time = time.time()
            self._writer.offer(exchange)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _heard(receive: Receive, exchange: Exchange) -> Receive:
    async def heard() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            exchange.asked.append(message.get("body", b""))
        return message

    return heard


def _told(send: Send, exchange: Exchange) -> Send:
    async def told(message: Message) -> None:
        await send(message)
        if message["type"] == "http.response.start":
            exchange.started(message)
        else:
            exchange.answered.append(message.get("body", b""))
            exchange.ended = not message.get("more_body")

    return told
