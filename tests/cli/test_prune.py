"""`phoundry prune`, without a control plane."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from phoundry.services.context import open_context
from phoundry.settings import Home
from tests.cli.conftest import Shell


@pytest.fixture
def orphan(home: Home) -> str:
    """A blob that no data asset has."""
    context = open_context(home)
    digest = context.blobs.put(b"nobody's" * 1000)
    context.database.close()
    path = home.blobs / digest[:2] / digest
    os.utime(path, (time.time() - 90_000,) * 2)
    return str(path)


def test_it_shows_asks_and_frees(shell: Shell, home: Home, orphan: str) -> None:
    looked = shell("prune", "--dry-run")
    assert looked.code == 0
    assert "8.0 kB in all; nothing was removed" in looked.out
    refused = shell("prune")
    assert refused.code == 2
    assert "Add -y" in refused.err
    assert shell("prune", stdin="n\n", terminal=True).code == 1
    assert Path(orphan).exists()
    done = shell("prune", "-y", "-o", "json")
    assert (done.json["removed"], done.json["bytes"], done.err) == (True, 8000, "")
    assert done.json["items"][0]["path"] == orphan
    assert not Path(orphan).exists()


def test_nothing_to_remove(shell: Shell, home: Home) -> None:
    done = shell("prune", "-y")
    assert (done.code, done.out) == (0, "")
    assert "--all" in done.err
    assert shell("prune", "--all", "-o", "json").json["items"] == []
