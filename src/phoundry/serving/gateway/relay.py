"""Ask a replica and pass its answer on: whole, or as the event stream that it is.

No answer is lost with a replica: as long as nothing has gone to the client, the request is asked
again of another, because generating changes nothing. A flow may: it is asked once.
"""

from __future__ import annotations

import json
import re

from phoundry.errors import PhoundryError
from phoundry.serving.asgi import Headers, encode, header
from phoundry.serving.errors import ReplicaFailed, openai_body
from phoundry.serving.gateway.connection import BrokenOff, Connection
from phoundry.serving.gateway.exchange import Exchange
from phoundry.serving.gateway.routing import Deployment
from phoundry.serving.gateway.upstream import Upstream
from phoundry.serving.paths import SCORE

# A request whose replica breaks off this often may be what breaks it: it shall not end them all.
BREAKS = 3
USAGE = b"x-phoundry-usage"
# Of a replica's: an answer, and what the caller can mend. 406 and 415 are a flow's.
_RELAYED = (200, 400, 406, 413, 415)
_STREAM = b"text/event-stream"
_CONTEXT = re.compile(rb"[0-9a-f-]{55,100}")  # what a traceparent is made of


async def forward(exchange: Exchange, deployment: Deployment, path: str, body: bytes) -> None:
    """Send `body` to a replica of `deployment` and its answer to the client.

    Raises:
        Unavailable: no replica accepts connections.
        TooManyRequests: the deployment's queue is full.
        ReplicaFailed: the replica answered 5xx, or replicas broke off before they had answered.
        PhoundryError: why the exchange's passage was cut off, before anything was answered.
    """
    deployment.touch()
    await deployment.limiter.enter()
    try:
        upstream, connection = await _ask(exchange, deployment, path, body)
        try:
            usage = connection.headers.get(USAGE)
            exchange.usage = usage.decode("latin-1") if usage else None
            if connection.streamed:
                await _stream(exchange, connection, deployment.timeout)
            else:
                await _whole(exchange, connection)
        finally:
            upstream.release(connection)
    finally:
        deployment.limiter.leave()
        deployment.touch()


async def _ask(
    exchange: Exchange, deployment: Deployment, path: str, body: bytes
) -> tuple[Upstream, Connection]:
    """A connection with an answer, or with the head of a stream, to be released by the caller."""
    replicas = deployment.replicas
    broken: Upstream | None = None
    breaks = 0
    while True:
        upstream = replicas.pick(broken) or await replicas.next(broken, deployment.want)
        try:
            connection = await upstream.connect()
        except OSError:
            replicas.refused(upstream)  # it has just gone; nothing was sent
            continue
        try:
            content = upstream.request(path, exchange.request_id, body, _more(exchange, path))
            answering = connection.ask(content)
            exchange.sent()
            await answering
        except BrokenOff:
            upstream.release(connection)
            if deployment.once:
                raise ReplicaFailed("The replica broke off; a flow is not run again.") from None
            broken, breaks = upstream, breaks + 1
            if breaks == BREAKS:
                raise ReplicaFailed(f"{BREAKS} times a replica broke off.") from None
            continue
        except BaseException:
            upstream.release(connection)
            raise
        if connection.status == 503:  # it starts or stops, and has not looked at the request
            upstream.release(connection)
            replicas.refused(upstream)
            continue
        replicas.answered()
        return upstream, connection


def _more(exchange: Exchange, path: str) -> bytes:
    """What a flow looks at in a request's head: the Accept that wants a stream, and the trace of
    the caller. Models look at their body."""
    if path != SCORE:
        return b""
    accept = header(exchange.scope, b"accept")
    found = b"Accept: %b\r\n" % accept if accept and _STREAM in accept else b""
    context = header(exchange.scope, b"traceparent")
    if context is not None and _CONTEXT.fullmatch(context):
        found += b"traceparent: %b\r\n" % context
    return found


async def _whole(exchange: Exchange, connection: Connection) -> None:
    """Pass a whole answer on. The caller's faults keep their status; the rest is the model's."""
    status, content = connection.status, connection.body
    if status not in _RELAYED:
        raise ReplicaFailed.answered(status, _reason(content))
    headers: Headers = [
        (b"content-type", connection.headers.get(b"content-type", b"application/json")),
        (b"content-length", b"%d" % len(content)),
    ]
    await exchange.start(status, headers)
    await exchange.body(content)


async def _stream(exchange: Exchange, connection: Connection, seconds: float) -> None:
    """Pass events on as they come, unparsed. Each piece has the whole timeout anew.

    Once begun, it ends with an error event where it cannot go on.
    """
    headers: Headers = [
        (b"content-type", connection.headers[b"content-type"]),
        (b"cache-control", b"no-cache"),
    ]
    exchange.streamed = True
    await exchange.start(200, headers)
    try:
        while piece := await connection.piece():
            if exchange.passage is not None:
                exchange.passage.extend(seconds)
            await exchange.body(piece, more=True)
    except BrokenOff:
        error = ReplicaFailed("The replica broke off.")
        exchange.cut = error.code
        await exchange.body(error_event(error))
    else:
        await exchange.body(b"")


def error_event(error: PhoundryError) -> bytes:
    """The last event of a stream that failed, as OpenAI's clients read it."""
    return b"data: " + encode(openai_body(error)) + b"\n\n"


def _reason(content: bytes) -> str:
    """The message of a replica's error body, whichever dialect."""
    try:
        return str(json.loads(content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "The replica gave no reason."
