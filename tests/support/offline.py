"""What a machine without a network looks like to every process that a command starts.

`environ(folder)` gives the variables under which each Python of the test's process tree refuses to
look up or reach anything but this machine, and writes down who tried.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# Run by Python itself at the start of every interpreter that has this folder on its path.
SITE = """
import json, os, socket, sys

HERE = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "", None)


def refuse(what, event, target):
    line = json.dumps({"event": event, "target": str(target), "argv": sys.orig_argv}) + "\\n"
    handle = os.open(os.environ["OFFLINE_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, line.encode())
    os.close(handle)
    raise OSError(f"{what} {target!r} was refused: this machine has no network")


def watch(event, arguments):
    if event == "socket.connect" or event == "socket.sendto":
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in HERE:
            refuse("reaching", event, address)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
        host = host.decode() if isinstance(host, bytes) else host
        if host not in HERE:
            refuse("looking up", event, host)


sys.addaudithook(watch)
"""


def environ(folder: Path) -> dict[str, str]:
    """The variables; the folder keeps the hook and the list of attempts."""
    (folder / "sitecustomize.py").write_text(SITE)
    return {"PYTHONPATH": str(folder), "OFFLINE_LOG": str(folder / "attempts.jsonl")}


def attempts(folder: Path) -> list[dict[str, Any]]:
    """Who tried to reach what."""
    path = folder / "attempts.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def other_variables() -> dict[str, str]:
    """The variables of this process without those that steer Phoundry."""
    return {name: value for name, value in os.environ.items() if "PHOUNDRY" not in name}
