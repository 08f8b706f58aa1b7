"""Serve an ASGI application on uvicorn (uvloop, httptools) until SIGTERM."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from phoundry.errors import InsufficientResources, UsageError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
LARGEST_PORT = 65535


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on a loopback address; port 0 takes any free one.

    Raises:
        UsageError: the address is not of this machine alone.
        InsufficientResources: the port is taken.
    """
    if host not in LOOPBACK:
        raise UsageError(
            f"Listening on '{host}' would open this machine to its network without TLS.",
            remedy="Use 127.0.0.1, and a reverse proxy with TLS in front of it.",
        )
    return listening(host, port)


def listening(host: str, port: int) -> socket.socket:
    """A listening socket on any address of this machine; who asks for more than loopback must see
    to it that requests need a key.

    Raises:
        UsageError: the address is not of this machine, or the port is none.
        InsufficientResources: the port is taken.
    """
    if not 0 <= port <= LARGEST_PORT:
        raise UsageError(f"{port} is no port.", remedy=f"Choose one from 0 to {LARGEST_PORT}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(
                f"'{host}' is no address of this machine.", remedy="Use 127.0.0.1."
            ) from None
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        reason = "in use" if error.errno == errno.EADDRINUSE else "reserved by the system"
        raise InsufficientResources(
            f"Port {port} of {host} is {reason}.", remedy="Choose another port, or 0 for any."
        ) from None
    listener.setblocking(False)
    return listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on uvloop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def serve(
    app: Callable[..., Awaitable[None]],
    listener: socket.socket,
    *,
    started: Callable[[], Awaitable[None]],
    stopping: Callable[[], None],
    grace_seconds: int,
    told: asyncio.Event | None = None,
) -> None:
    """Serve `app` until SIGTERM or SIGINT, then let requests in flight end within the grace.

    `started` is awaited once connections are accepted; its failure ends the server and is raised.
    `told` ends it instead of the signals, where one process has several servers.
    """
    import uvicorn

    from phoundry.serving.protocol import WatchedConnection

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=WatchedConnection,
            ws="none",
            lifespan="off",
            access_log=False,
            proxy_headers=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=grace_seconds,
        )
    )

    def stop() -> None:
        if not server.should_exit:
            stopping()
        server.should_exit = True

    waiting = _stop_when(told, stop)
    # `_serve` and not `serve`: the public one takes the signals over and raises them again at the
    # end, so that a stop that was asked for would look like a failure.
    serving = asyncio.create_task(server._serve([listener]))  # pyright: ignore[reportPrivateUsage]
    expiring = asyncio.create_task(expire(server.server_state.connections))
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.001)
        if not serving.done():
            await started()
    except BaseException:
        server.should_exit = True
        raise
    finally:
        await serving
        expiring.cancel()
        if waiting is not None:
            waiting.cancel()


def _stop_when(told: asyncio.Event | None, stop: Callable[[], None]) -> asyncio.Task[None] | None:
    """Call `stop` at the event, or at a signal where there is none."""
    if told is None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        return None

    async def wait() -> None:
        await told.wait()
        stop()

    return asyncio.create_task(wait())


async def expire(connections: Iterable[Any]) -> None:
    """End what takes too long, once a second, of these `protocol.WatchedConnection`s."""
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(1)
        for connection in tuple(connections):
            connection.expire(clock())
