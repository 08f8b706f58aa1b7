"""Environments of flows: what of them goes, and what stays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from phoundry.files import write_json
from phoundry.flows.environments.build import READY
from phoundry.services import prune
from phoundry.services.context import open_context
from phoundry.services.prune.environments import KIND
from phoundry.settings import Home
from tests.cli.conftest import Shell, shell

__all__ = ["shell"]


def made(home: Home, name: str, python: str = sys.executable) -> Path:
    """An environment as far as it is judged."""
    place = home.environments / name
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").symlink_to(python)
    (place / "package.py").write_bytes(b"x" * 5000)
    write_json(place / READY, {"requirements": [f"{name}==1.0"]})
    return place


@pytest.fixture
def places(home: Home, age: Callable[[], None]) -> dict[str, Path]:
    found = {name: made(home, name) for name in ("whole", "busy")}
    found["orphan"] = made(home, "orphan", "/nowhere/python")
    found["half"] = made(home, "half")
    (found["half"] / READY).unlink()
    age()
    found["fresh"] = made(home, "fresh")
    return found


def judged(home: Home, *, everything: bool) -> dict[str, str]:
    context = open_context(home)
    try:
        items = prune.plan(context, everything=everything).items
        return {item.name: item.why for item in items if item.kind == KIND}
    finally:
        context.database.close()


def test_what_goes_and_what_stays(home: Home, places: dict[str, Path]) -> None:
    python = str(places["busy"] / "bin" / "python")
    with subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert judged(home, everything=False).keys() == {"orphan", "half"}
        found = judged(home, everything=True)
        process.communicate(b"\n")
    assert found.keys() == {"orphan", "half", "whole"}
    assert found["whole"] == "whole==1.0; last used 40 days ago"
    assert "busy" in judged(home, everything=True)


def test_pruning_removes_them_whole(home: Home, places: dict[str, Path]) -> None:
    context = open_context(home)
    done = prune.prune(context, everything=True)
    context.database.close()
    assert sum(item.bytes for item in done.items if item.kind == KIND) > 4 * 5000
    assert [path.name for path in home.environments.iterdir()] == ["fresh"]


def test_the_commands(shell: Shell, home: Home) -> None:
    assert "No flow has asked" in shell("flow", "env", "list").err
    made(home, "one")
    shown = shell("flow", "env", "list")
    assert "one==1.0" in shown.out
    assert "today" in shown.out
    (row,) = shell("flow", "env", "list", "-o", "json").json
    assert (row["name"], row["packages"]) == ("one", ["one==1.0"])
    assert row["bytes"] > 5000
    missing = shell("flow", "env", "delete", "ons", "-y")
    assert missing.code == 1
    assert "one" in missing.err
    assert shell("flow", "env", "delete", "one", "-y").code == 0
    assert not os.path.lexists(home.environments / "one")
