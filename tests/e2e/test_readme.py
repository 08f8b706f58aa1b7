"""The README's commands, copied line by line, with the real model."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import free_pair

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.real_model, pytest.mark.slow, pytest.mark.xdist_group("readme")]


def commands() -> list[str]:
    """Every line of the README's `sh` blocks but those that call make or enter the environment."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    return [line for line in lines if not line.startswith(("make ", ". .venv"))]


def test_every_command_of_the_readme_works(tmp_path: Path) -> None:
    lines = commands()
    assert len(lines) > 15
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    port, gateway_port = free_pair()
    environ = {name: value for name, value in os.environ.items() if "PHOUNDRY" not in name} | {
        "PHOUNDRY_HOME": str(tmp_path / "home"),
        "PHOUNDRY_PORT": str(port),
        "PHOUNDRY_GATEWAY_PORT": str(gateway_port),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    said: dict[str, str] = {}
    try:
        for line in lines:
            here = line.replace("127.0.0.1:7411", f"127.0.0.1:{gateway_port}")
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", here],
                cwd=tmp_path,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            said[line] = done.stdout
    finally:
        subprocess.run(
            ["phoundry", "down"], env=environ, check=False, timeout=120, capture_output=True
        )
    _check_answers(said)


def _check_answers(said: dict[str, str]) -> None:
    """The tuned model knows what it was taught; both dialects of the endpoint answer."""
    told = next(
        text for line, text in said.items() if line.startswith("phoundry chat reading-guide --m")
    )
    assert "12 books" in told
    curls = [text for line, text in said.items() if line.startswith("curl")]
    assert '"output":' in curls[0]
    assert '"choices":' in curls[1]
