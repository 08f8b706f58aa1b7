"""What this machine has."""

from __future__ import annotations

import os
import socket

import psutil

from phoundry.errors import InsufficientResources
from phoundry.settings import Settings


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int:
    """Bytes that a new worker may plan with: what is free now, or less if the user set a limit."""
    free = int(psutil.virtual_memory().available)
    limit = Settings().memory_limit
    return free if limit is None else min(free, limit)


def port_is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose_port(host: str, *, named: int | None, remembered: int | None, default: int) -> int:
    """The port the user named, else the one used before, else `default` or the next free one.

    Raises:
        InsufficientResources: a named or remembered port is taken. A remembered one is never
            silently replaced: connections and scripts hold addresses with it.
    """
    for port, remedy in ((named, _OTHER), (remembered, _MOVE)):
        if port is None:
            continue
        if port_is_free(host, port):
            return port
        raise InsufficientResources(
            f"Port {port} on {host} is in use by {holder(port)}.", remedy=remedy
        )
    for port in range(default, default + 200, 10):
        if port_is_free(host, port):
            return port
    raise InsufficientResources(
        f"No port from {default} to {default + 199} on {host} is free.",
        remedy="Name one with --port and --gateway-port.",
    )


_OTHER = (
    "End that program, or name another port with --port (the control plane's) or --gateway-port "
    "(the endpoints')."
)
_MOVE = (
    "End that program, or move for good with `phoundry up --port N --gateway-port M` "
    "(addresses held elsewhere then change)."
)


def holder(port: int) -> str:
    """`python (pid 4711)` where the system lets us see it, else `another program`."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,):
                pid = connection.pid
                return f"{psutil.Process(pid).name()} (pid {pid})" if pid else "another program"
    except psutil.Error:
        pass
    return "another program"
