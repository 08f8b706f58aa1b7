"""Tiny checkpoints and adapters, each made once a process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import build, write_adapter

Maker = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """`tiny("phi3")`: a checkpoint that no test writes to, made once a process."""
    made: dict[str, Path] = {}
    root = tmp_path_factory.mktemp("tiny")

    def get(kind: str, **changes: Any) -> Path:
        key = f"{kind}-{json.dumps(changes, sort_keys=True)}"
        if key not in made:
            made[key] = build(kind, root / str(len(made)), **changes)
        return made[key]

    return get


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy of a checkpoint that the test may spoil."""
    import shutil

    return lambda source: Path(shutil.copytree(source, tmp_path / "copy"))


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """`adapter(base, use_rslora=True)`: an adapter that no test writes to."""
    made: dict[str, Path] = {}
    root = tmp_path_factory.mktemp("adapters")

    def get(base: Path, **settings: Any) -> Path:
        key = f"{base}-{json.dumps(settings, sort_keys=True)}"
        if key not in made:
            made[key] = write_adapter(base, root / str(len(made)), **settings)
        return made[key]

    return get
