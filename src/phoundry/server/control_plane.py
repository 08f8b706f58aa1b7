"""The control plane's life: lock, ports, gateway, API, the reconciler's loop, and its end."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import uvicorn

from phoundry.compute import machine, workers
from phoundry.errors import Conflict, UsageError
from phoundry.files import PRIVATE, write_json
from phoundry.journey import journeys
from phoundry.server.abandoned import abandoned, end_children
from phoundry.server.app import create_app
from phoundry.server.connections import PatientConnection, Server
from phoundry.server.resting import Rest
from phoundry.services import addresses, flow_traces, routing
from phoundry.services.context import Context, open_context
from phoundry.services.prune import histories
from phoundry.services.reconcile import (
    curves,
    deployments,
    gate,
    gateway,
    jobs,
    models,
    pace,
    probes,
    tasks,
)
from phoundry.services.reconcile.prober import Prober
from phoundry.services.reconcile.scaling import Scaler
from phoundry.settings import DEFAULT_GATEWAY_PORT, DEFAULT_PORT, Home, Settings

log = logging.getLogger("phoundry.server")

# Between two ticks at most; a request, a worker or a change of the tick itself ends it (`Rest`).
DRAIN_SECONDS = 0.2  # while a replica is being taken out
TICK_SECONDS = 1.0  # while something is under way, or deployments follow their load
IDLE_SECONDS = 5.0  # else
HOUSEKEEPING_SECONDS = 3600.0  # between two looks for old events, while nothing is under way
FAULT_SECONDS = 2.0
STOP_SECONDS = 25.0
GIVE_UP_SECONDS = 35.0


class ControlPlane:
    """One for each home. `run` returns when it was asked to stop."""

    def __init__(
        self, home: Home, *, port: int | None = None, gateway_port: int | None = None
    ) -> None:
        settings = Settings()
        self.home = home
        self.host = settings.host
        if self.host not in ("127.0.0.1", "localhost"):
            raise UsageError(
                f"The address {self.host} can be reached from other machines.",
                remedy="Use 127.0.0.1: serving others needs TLS, which this version has not.",
            )
        used = addresses.ports(home)
        self.port = machine.choose_port(
            self.host,
            named=port or settings.port,
            remembered=used.get("port"),
            default=DEFAULT_PORT,
        )
        self.gateway_port = self._gateway_port(gateway_port or settings.gateway_port, used)
        self.stop_workers = False
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._scaler = Scaler()
        self._prober = Prober(changed=self._wake.set)
        self._context: Context | None = None

    def run(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Serve until SIGTERM (workers go on), SIGINT or `/api/shutdown` (everything ends)."""
        with locked(self.home), _listening(self.host, self.port) as listener:
            context = open_context(self.home)
            self._context = context = replace(context, publish=lambda: routing.publish(context))
            address = f"http://{self.host}:{self.port}"
            app = create_app(self.home, context=context, address=address, wake=self._wake.set)
            config = uvicorn.Config(
                app,
                http=PatientConnection,
                ws="none",
                log_level="warning",
                access_log=False,
                lifespan="off",
                server_header=False,
            )
            server = Server(config)
            app.state.shutdown = lambda: self._shut_down(server)
            addresses.remember_ports(self.home, self.port, self.gateway_port)
            routing.publish(context, wait=False)  # the loop sees to a gateway that hangs
            gateway.tick(context, self.host, self.gateway_port)
            gateway.wait(context)
            loop = threading.Thread(
                target=self._loop, args=[server], name="reconciler", daemon=True
            )
            loop.start()
            self._announce(app.state.token, address)
            if on_ready:
                on_ready(address)
            self._serve(server, listener)
            self._stopping.set()
            self._wake.set()
            loop.join(timeout=10)
            self._prober.close()
            self.home.server_file.unlink(missing_ok=True)
            if abandoned(self.home):
                end_children()
            elif self.stop_workers:
                stop_everything(context)
            context.database.close()

    def _serve(self, server: uvicorn.Server, listener: socket.socket) -> None:
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            self.stop_workers = True

    def _shut_down(self, server: uvicorn.Server) -> None:
        self.stop_workers = True
        server.should_exit = True

    def _gateway_port(self, named: int | None, used: dict[str, int]) -> int:
        state = workers.inspect(self.home.routes.parent)
        if state.running and state.ready and named in (None, state.ready["port"]):
            return int(state.ready["port"])  # it outlived the last control plane: adopt it
        return machine.choose_port(
            self.host,
            named=named,
            remembered=used.get("gateway_port"),
            default=max(DEFAULT_GATEWAY_PORT, self.port + 1),
        )

    def _announce(self, token: str, address: str) -> None:
        record = {
            "url": address,
            "token": token,
            "gateway_url": f"http://{self.host}:{self.gateway_port}",
            "pid": os.getpid(),
            "create_time": psutil.Process().create_time(),
        }
        write_json(self.home.server_file, record, mode=PRIVATE)

    def _loop(self, server: uvicorn.Server) -> None:
        assert self._context is not None  # noqa: S101 - set before the thread starts
        context, rest = self._context, Rest(self._context, self._wake, self._scaler)
        housekeeping = time.monotonic()
        while not self._stopping.is_set():
            self._wake.clear()
            rest.begin()
            if abandoned(self.home):
                log.warning("%s is gone; this control plane ends", self.home.root)
                server.should_exit = True
                return
            try:
                now = tick(context, self.host, self.gateway_port, self._scaler, self._prober)
                if not now.under_way and time.monotonic() >= housekeeping:
                    histories.tick(context)
                    housekeeping = time.monotonic() + HOUSEKEEPING_SECONDS
            except Exception:
                # The loop outlives any one fault, and says it.
                log.exception("a tick of the reconciler failed")
                rest(FAULT_SECONDS)
            else:
                rest(self._pause(now), now.folders)

    def _pause(self, now: pace.Pace) -> float:
        if now.drains:
            return DRAIN_SECONDS
        return TICK_SECONDS if now.under_way or self._scaler.follows else IDLE_SECONDS


def tick(
    context: Context,
    host: str,
    gateway_port: int,
    scaler: Scaler | None = None,
    prober: Prober | None = None,
) -> pace.Pace:
    """One round over everything that is under way. Returns what is left, and how soon to look.

    The control plane gives its own scaler and prober, which remember idle times and probes.

    Raises:
        ExceptionGroup: what went wrong with some of it, after all of it had its turn.
    """
    faults: list[Exception] = []
    for part in (
        tasks.tick,
        jobs.tick,
        models.tick,
        (scaler or Scaler()).tick,
        deployments.tick,
        gate.tick,
        *([partial(probes.tick, prober=prober)] if prober else []),
        curves.tick,
        flow_traces.tick,
        # Always: a verb may have been cut off between its change and the table.
        partial(routing.publish, wait=False),
        partial(gateway.tick, host=host, port=gateway_port),
        journeys.tick,
    ):
        try:
            part(context)
        except Exception as error:  # noqa: BLE001 - raised below
            faults.append(error)
    if faults:
        raise ExceptionGroup("parts of a tick failed", faults)
    return pace.of(context)


def stop_everything(context: Context) -> None:
    """End every worker. Jobs are queued again, to go on with the next start."""
    jobs.pause_all(context)
    deployments.stop_all(context)
    folders = _worker_folders(context)
    for folder in folders:
        workers.terminate(folder)
    begun = time.monotonic()
    while any(workers.inspect(folder).running for folder in folders):
        if time.monotonic() - begun > STOP_SECONDS:
            for folder in folders:
                workers.kill(folder)
        if time.monotonic() - begun > GIVE_UP_SECONDS:  # stuck in the kernel: not ours to wait for
            log.error("some workers could not be killed; the next start adopts them")
            return
        time.sleep(0.05)


@contextmanager
def locked(home: Home) -> Generator[None]:
    """Hold the home's lock: one control plane a home. Raises Conflict where one runs."""
    home.make()
    handle = os.open(home.server_lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Conflict(
            f"A control plane runs on {home.root} already.",
            remedy="`phoundry status` shows it; `phoundry down` ends it.",
        ) from None
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def _listening(host: str, port: int) -> Generator[socket.socket]:
    listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
        yield listener
    finally:
        listener.close()


def _worker_folders(context: Context) -> list[Path]:
    folders = [context.home.routes.parent]
    if context.home.runs.exists():
        folders += sorted(path for path in context.home.runs.iterdir() if path.is_dir())
    return [folder for folder in folders if workers.inspect(folder).running]
