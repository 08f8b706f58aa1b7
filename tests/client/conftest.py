"""Fixtures of those who call a control plane."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from phoundry.client import Client
from phoundry.settings import Home
from tests.client.fake_api import TOKEN, FakeApi, serve
from tests.support.quick import quick_databases

__all__ = ["quick_databases"]


@pytest.fixture
def api(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """A fake control plane that the environment names."""
    with serve() as fake:
        monkeypatch.setenv("PHOUNDRY_URL", fake.url)
        monkeypatch.setenv("PHOUNDRY_TOKEN", TOKEN)
        yield fake


@pytest.fixture
def client(api: FakeApi) -> Iterator[Client]:
    """A client of the fake control plane."""
    with Client() as client:
        yield client


@pytest.fixture
def here(home: Home) -> Iterator[Client]:
    """A client with no control plane: the real services in this process."""
    with Client(home) as client:
        yield client
