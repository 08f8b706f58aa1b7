"""Fixtures that every room may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from phoundry.settings import Home
from tests.support.ports import free_pair
from tests.support.quick import new_database, no_waiting_for_the_disk
from tests.support.sharing import pytest_collection_modifyitems, pytest_xdist_make_scheduler
from tests.support.site import walked

__all__ = [
    "new_database",
    "no_waiting_for_the_disk",
    "pytest_collection_modifyitems",
    "pytest_xdist_make_scheduler",
    "walked",
]


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
    return free_pair()


# A shared machine may stop any example for a second; hangs are pytest's and CI's to catch.
# On CI the examples are the same at every run, as in Hypothesis' own profile for it.
settings.register_profile("phoundry", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("phoundry")
