"""Fixtures that every room may use."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import settings

from phoundry.settings import Home
from tests.support.quick import new_database, no_waiting_for_the_disk

__all__ = ["new_database", "no_waiting_for_the_disk"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty PHOUNDRY_HOME of this test's own."""
    for variable in ("PHOUNDRY_URL", "PHOUNDRY_TOKEN", "PHOUNDRY_PORT", "PHOUNDRY_GATEWAY_PORT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PHOUNDRY_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.fixture
def free_ports() -> tuple[int, int]:
    """Two ports that nothing listens on: the control plane's and the gateway's."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: a few processes share the suite, and what takes a minute shall
    not begin when the others have nothing left to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


# A shared machine may stop any example for a second; hangs are pytest's and CI's to catch.
# On CI the examples are the same at every run, as in Hypothesis' own profile for it.
settings.register_profile("phoundry", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("phoundry")
