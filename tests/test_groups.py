"""The suite's own promise: what is made once, for a group, a file or a room, is made in one
process; and what takes longest begins first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sharing import LONGEST, TOGETHER, share_of

ROOT = Path(__file__).parents[1]
MEMBER = """
import os, pytest

@pytest.mark.parametrize("number", range(3))
def test_who(number):
    with open(os.environ["PIDS"], "a") as file:
        file.write(f"{os.getpid()} {__name__}\\n")
"""
GROUP = 'import pytest\n\npytestmark = pytest.mark.xdist_group("docs")\n'


def test_a_group_and_a_file_stay_in_one_process_and_the_longest_begins(tmp_path: Path) -> None:
    for name in ("c", "d"):
        (tmp_path / f"test_{name}.py").write_text(GROUP + MEMBER)
    for name in ("a", "b"):
        (tmp_path / f"test_{name}.py").write_text(MEMBER)
    words = ["-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider"]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "PIDS": str(tmp_path / "pids")}
    subprocess.run(
        [sys.executable, *words, "-p", "tests.support.sharing"],
        cwd=tmp_path,
        env=environ,
        check=True,
        timeout=300,
    )
    ran = [line.split() for line in (tmp_path / "pids").read_text().splitlines()]
    assert len(ran) == 12
    pids = {name: {pid for pid, module in ran if module == name} for _, name in ran}
    assert len(pids["test_c"] | pids["test_d"]) == 1
    assert (len(pids["test_a"]), len(pids["test_b"])) == (1, 1)
    [one] = pids["test_c"]
    first = next(module for pid, module in ran if pid == one)
    assert first == "test_c", "they come in front of the files before them"


@pytest.mark.parametrize(
    ("nodeid", "share"),
    [
        ("tests/a/test_b.py::test_c", "tests/a/test_b.py"),
        ("tests/a/test_b.py::test_c[x::y]", "tests/a/test_b.py"),
        ("tests/a/test_b.py::test_c[a@b]", "tests/a/test_b.py"),
        ("tests/a/test_b.py::test_c[a@b]@docs", "docs"),
        (f"{TOGETHER[0]}/test_b.py::test_c", TOGETHER[0]),
    ],
)
def test_whose_share_a_test_is(nodeid: str, share: str) -> None:
    assert share_of(nodeid) == share


def test_what_is_named_is_there() -> None:
    """A name that nothing bears any more would put what it stood for among the last."""
    text = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    groups = set(re.findall(r'xdist_group\("(\w+)"\)', text))
    for name in (*LONGEST, *TOGETHER):
        assert name in groups or (ROOT / name).exists(), name
