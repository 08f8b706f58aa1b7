from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from phoundry.compute import machine
from phoundry.errors import InsufficientResources, UsageError

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_named_port_in_use_is_an_error_that_says_by_whom(taken: int) -> None:
    with pytest.raises(
        InsufficientResources, match=rf"Port {taken} .* in use by .*pid {os.getpid()}"
    ):
        machine.choose_port(HOST, named=taken, remembered=None, default=taken)


def test_a_remembered_port_is_never_silently_replaced(taken: int) -> None:
    with pytest.raises(InsufficientResources, match="--port"):
        machine.choose_port(HOST, named=None, remembered=taken, default=taken)


def test_a_default_port_in_use_gives_the_next(taken: int) -> None:
    chosen = machine.choose_port(HOST, named=None, remembered=None, default=taken)
    assert chosen > taken
    assert (chosen - taken) % 10 == 0


def test_the_memory_limit_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOUNDRY_MEMORY_LIMIT", "1000")
    assert machine.available_memory() == 1000
    monkeypatch.setenv("PHOUNDRY_MEMORY_LIMIT", "lots")
    with pytest.raises(UsageError, match="not a number"):
        machine.available_memory()
