"""A home in which everything is old enough to be judged."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from phoundry.settings import Home

LONG_AGO = 40 * 86_400.0


def aged(home: Home) -> None:
    """Make everything in the home look as if nobody had touched it for weeks."""
    then = time.time() - LONG_AGO
    for path in sorted(home.root.rglob("*"), reverse=True):
        os.utime(path, (then, then), follow_symlinks=False)


@pytest.fixture
def age(home: Home) -> Callable[[], None]:
    return lambda: aged(home)


def put(path: Path, content: bytes = b"x" * 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
