"""The README's commands, copied line by line, with the real model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs.documents import blocks
from tests.support.ports import free_pair

README = Path(__file__).parents[2] / "README.md"
SECONDS = 1800  # a guard: no line takes that long, on a machine that does much else either
pytestmark = [pytest.mark.real_model, pytest.mark.slow, pytest.mark.xdist_group("readme")]


def sections() -> dict[str, list[str]]:
    """Every line of the README's `sh` blocks but those that call make or enter the environment, by
    its heading."""
    found: dict[str, list[str]] = {}
    for block in blocks(README):
        lines = [line for line in block.text.splitlines() if line.strip()]
        typed = [line for line in lines if not line.startswith(("make ", ". .venv"))]
        if block.kind == "sh" and typed:
            found.setdefault(block.section, []).extend(typed)
    return found


@dataclass
class Shell:
    """Where the lines are typed, one section after another. `said`: what each has printed."""

    folder: Path
    environ: dict[str, str]
    gateway_port: int
    said: dict[str, str] = field(default_factory=dict[str, str])

    def type(self, line: str) -> None:
        here = line.replace("127.0.0.1:7411", f"127.0.0.1:{self.gateway_port}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", here],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        self.said[line] = done.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(README.parent / "examples", folder / "examples")
    port, gateway_port = free_pair()
    environ = {name: value for name, value in os.environ.items() if "PHOUNDRY" not in name} | {
        "PHOUNDRY_HOME": str(folder / "home"),
        "PHOUNDRY_PORT": str(port),
        "PHOUNDRY_GATEWAY_PORT": str(gateway_port),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    made = Shell(folder, environ, gateway_port)
    try:
        yield made
    finally:
        subprocess.run(
            ["phoundry", "down"], env=environ, check=False, timeout=120, capture_output=True
        )


@pytest.mark.parametrize("section", sections())
def test_every_command_works(shell: Shell, section: str) -> None:
    for line in sections()[section]:
        shell.type(line)


def test_all_of_it_was_typed(shell: Shell) -> None:
    lines = [line for section in sections().values() for line in section]
    assert len(lines) > 35
    assert shell.said.keys() == {*lines}


def test_the_tuned_model_knows_what_it_was_taught(shell: Shell) -> None:
    [told] = [
        text
        for line, text in shell.said.items()
        if line.startswith("phoundry chat reading-guide --m")
    ]
    assert "12 books" in told


def test_both_dialects_answer(shell: Shell) -> None:
    score, chat = (text for line, text in shell.said.items() if line.startswith("curl"))
    assert '"output":' in score
    assert '"choices":' in chat
