"""Fixtures that every room may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.settings import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty PHOUNDRY_HOME of this test's own."""
    for variable in ("PHOUNDRY_URL", "PHOUNDRY_TOKEN", "PHOUNDRY_PORT", "PHOUNDRY_GATEWAY_PORT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PHOUNDRY_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")
