from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from phoundry.compute import machine
from phoundry.services.context import Context, open_context
from phoundry.settings import Home, Settings
from tests.services.fake_workers import FakeWorkers
from tests.support.quick import quick_databases

__all__ = ["quick_databases"]

PLENTY = 64 * 10**9


@pytest.fixture(autouse=True)
def plenty_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests beside these take of the machine's memory refuses nothing here."""

    def available() -> int:
        limit = Settings().memory_limit
        return PLENTY if limit is None else min(PLENTY, limit)

    monkeypatch.setattr(machine, "available_memory", available)


@pytest.fixture
def context(home: Home) -> Iterator[Context]:
    """The services of an empty home."""
    opened = open_context(home)
    yield opened
    opened.database.close()


@pytest.fixture
def chats() -> bytes:
    """Ten conversations as messages JSONL."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is {number}?"},
                {"role": "assistant", "content": f"It is number {number}."},
            ]
        }
        for number in range(10)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> FakeWorkers:
    """Workers that do nothing until the test says so."""
    made = FakeWorkers()
    made.install(monkeypatch)
    return made
