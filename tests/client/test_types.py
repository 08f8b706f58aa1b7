"""A program that uses the client is checked by its author's type checker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import phoundry

pytestmark = pytest.mark.slow


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(phoundry.__file__).parent / "py.typed").exists()


def test_a_strict_checker_accepts_a_program_and_knows_its_types(tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    source = Path(__file__).with_name("typed_sample.py").read_text()
    (tmp_path / "sample.py").write_text(source)
    (tmp_path / "wrong.py").write_text(
        "from phoundry import AsyncClient\n\n\n"
        "async def main(client: AsyncClient) -> int:\n"
        "    return await client.jobs.show('job')\n"
    )
    settings = {
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
        "pythonVersion": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pyright", "--outputjson"),
            *("--pythonpath", sys.executable, "-p", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = [
        (Path(each["file"]).name, each["rule"])
        for each in json.loads(done.stdout)["generalDiagnostics"]
    ]
    assert found == [("wrong.py", "reportReturnType")], done.stdout
