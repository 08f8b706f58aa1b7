"""Where the gateway and the control plane of a home are found."""

from __future__ import annotations

from typing import Any

from phoundry.files import read_json, write_json
from phoundry.settings import DEFAULT_GATEWAY_PORT, Home


def ports(home: Home) -> dict[str, int]:
    """The ports this home has used before: `{"port", "gateway_port"}`, or nothing."""
    found: dict[str, Any] = read_json(home.root / "ports.json") or {}
    return {name: int(value) for name, value in found.items()}


def remember_ports(home: Home, port: int, gateway_port: int) -> None:
    write_json(home.root / "ports.json", {"port": port, "gateway_port": gateway_port})


def gateway_url(home: Home) -> str:
    """Address of the endpoints. It stays the same from one start to the next."""
    running: dict[str, Any] = read_json(home.server_file) or {}
    if url := running.get("gateway_url"):
        return str(url)
    return f"http://127.0.0.1:{ports(home).get('gateway_port', DEFAULT_GATEWAY_PORT)}"
