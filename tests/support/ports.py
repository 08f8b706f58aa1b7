"""Ports for servers that a test starts later.

The system deals out the others (`/proc/sys/net/ipv4/ip_local_port_range` begins at 32768), also to
the tests beside this one: a port that it has dealt out, and that was let go again, may be
anybody's by the time the server wants it. These it never deals out, and each process of a suite
has its own.
"""

from __future__ import annotations

import itertools
import os
import random
import socket

FIRST, MANY = 20_000, 12_000
SLICE = 1_000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0)
_BEGIN = FIRST + _WORKER * SLICE % MANY
# Another suite on this machine begins elsewhere.
_NUMBERS = itertools.count(random.SystemRandom().randrange(SLICE))


def free_pair() -> tuple[int, int]:
    """Two ports that nothing listens on, and that nobody else is given."""
    return _free(), _free()


def _free() -> int:
    for number in itertools.islice(_NUMBERS, SLICE):
        port = _BEGIN + number % SLICE
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError(f"no port from {_BEGIN} on is free")
