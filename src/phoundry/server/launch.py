"""Starting the control plane: detached, or in this process. Finding the one that runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from phoundry.compute.workers import recorded_lives
from phoundry.errors import Conflict, Unavailable, from_dict
from phoundry.files import lock_held, read_json
from phoundry.settings import Home, child_environ

START_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The running control plane of a home."""

    url: str
    token: str
    gateway_url: str
    pid: int

    def __repr__(self) -> str:
        return f"ServerInfo({self.url}, pid={self.pid})"


def running(home: Home) -> ServerInfo | None:
    """The control plane that runs on this home and answers, or None."""
    record: dict[str, Any] | None = read_json(home.server_file)
    if record is None or not recorded_lives(home.server_lock, record):
        return None
    if not _answers(record["url"]):
        return None
    # One that has just started has written its own meanwhile: its token is another.
    newest: dict[str, Any] = read_json(home.server_file) or record
    return ServerInfo(newest["url"], newest["token"], newest["gateway_url"], newest["pid"])


def ensure_running(
    home: Home, *, port: int | None = None, gateway_port: int | None = None
) -> ServerInfo:
    """The running control plane, started detached where there is none.

    Raises:
        Conflict: it runs on other ports than the ones named.
        InsufficientResources: a port that was named, or used before, is taken.
        Unavailable: it did not come up.
    """
    # One that is just starting is as good as ours; one that is ending must have ended before.
    if found := running(home) or _soon(home, START_SECONDS):
        _check_ports(found, port, gateway_port)
        return found
    home.make()
    home.logs.mkdir(exist_ok=True)
    failure = home.logs / "server-error.json"
    failure.unlink(missing_ok=True)
    command = [sys.executable, "-m", "phoundry.server", str(home.root)]
    if port:
        command += ["--port", str(port)]
    if gateway_port:
        command += ["--gateway-port", str(gateway_port)]
    with (home.logs / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=child_environ() | {"PHOUNDRY_HOME": str(home.root)},
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if found := running(home):
            return found
        if process.poll() is not None:
            # Two commands may have started one at once; the other's is as good.
            if found := _soon(home):
                return found
            error: dict[str, Any] | None = read_json(failure)
            if error:
                raise from_dict(error)
            break
        time.sleep(0.05)
    raise Unavailable(
        "The control plane did not start.", remedy=f"Its log is {home.logs / 'server.log'}."
    )


def _check_ports(found: ServerInfo, port: int | None, gateway_port: int | None) -> None:
    """Raise Conflict where ports were named that the running control plane does not have."""
    for named, url in ((port, found.url), (gateway_port, found.gateway_url)):
        if named and urlsplit(url).port != named:
            raise Conflict(
                f"Phoundry runs already, at {found.url} and {found.gateway_url}.",
                remedy="To move it, run `phoundry down` first.",
            )


def run_foreground(
    home: Home,
    *,
    port: int | None = None,
    gateway_port: int | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Run the control plane in this process until Ctrl-C; then everything it started ends.

    Raises:
        Conflict: one runs on this home already.
        InsufficientResources: a port that was named, or used before, is taken.
    """
    from phoundry.server.control_plane import ControlPlane

    # One that is just starting, or ending, holds the lock: its ports would be named as taken else.
    if found := running(home) or _soon(home):
        raise Conflict(
            f"A control plane runs on {home.root} already, at {found.url} (pid {found.pid}).",
            remedy="Nothing to do: `phoundry status` shows it. To run it in this terminal instead, "
            "end that one with `phoundry down` first.",
        )
    ControlPlane(home, port=port, gateway_port=gateway_port).run(on_ready)


def _soon(home: Home, seconds: float = 10.0) -> ServerInfo | None:
    """The server that is just starting: its lock is held. None as soon as the lock is free."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and lock_held(home.server_lock):
        if found := running(home):
            return found
        time.sleep(0.05)
    return None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as reply:  # noqa: S310 - loopback
            return json.load(reply).get("status") == "ok"
    except (urllib.error.URLError, OSError, ValueError):
        return False
