"""The tutorial's `download_dataset.py` runs as it is, against a mirror on this machine.

With the `datasets` that we install, and with the 2.19.1 that the tutorial names, in an environment
of its own that is made once and kept in the user's folder of caches.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from phoundry.data import SourceFile, open_rows
from tests.support import ultrachat
from tests.support.hub import Hub, Repo, serve

SCRIPT = Path(__file__).parents[3] / "shared" / "reference" / "tutorial" / "download_dataset.py"
OLD = ("datasets==2.19.1", "huggingface_hub==0.36.2")  # a later hub client breaks 2.19.1

pytestmark = pytest.mark.skipif(
    not SCRIPT.exists(), reason=f"the tutorial's script is not beside the project: {SCRIPT}"
)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = ultrachat.write(tmp_path_factory.mktemp("hub") / "ultrachat_200k")
    with serve({ultrachat.HUB_ID: Repo(folder, kind="dataset")}) as served:
        yield served


def run(python: Path, hub: Hub, tmp_path: Path) -> tuple[list[Any], list[Any]]:
    """Run the script in `tmp_path`; the rows of the two files that it writes."""
    kept = {key: text for key, text in os.environ.items() if not key.startswith("HF_")}
    environ = kept | {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf")}
    before = SCRIPT.read_bytes()
    done = subprocess.run(
        [python, SCRIPT], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Original dataset size: 4" in done.stdout
    assert SCRIPT.read_bytes() == before
    train, test = (
        [json.loads(line) for line in (tmp_path / "data" / name).read_text("utf-8").splitlines()]
        for name in ("train_data.jsonl", "test_data.jsonl")
    )
    return train, test


def check(train: list[Any], test: list[Any], tmp_path: Path) -> None:
    """1 % of 400 rows, a fifth held out; and both files are chats to us."""
    assert (len(train), len(test)) == (3, 1)
    expected = {row["prompt_id"]: row for row in ultrachat.rows("train_sft")[:4]}
    assert {row["prompt_id"]: row for row in train + test} == expected
    path = tmp_path / "data" / "train_data.jsonl"
    reader = open_rows([SourceFile(path, path.name)])
    rows: list[Any] = list(reader)
    assert (reader.format, reader.container, reader.type) == ("messages", "jsonl", "chat")
    found = [[(each["role"], each["content"]) for each in row["messages"]] for row in rows]
    assert found == [[(m["role"], m["content"]) for m in row["messages"]] for row in train]


def test_with_our_datasets(hub: Hub, tmp_path: Path) -> None:
    check(*run(Path(sys.executable), hub, tmp_path), tmp_path)


@pytest.mark.slow
def test_with_the_version_that_the_tutorial_names(hub: Hub, tmp_path: Path) -> None:
    python = environment()
    version = subprocess.run(
        [python, "-c", "import datasets; print(datasets.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert version.stdout.strip() == "2.19.1"
    check(*run(python, hub, tmp_path), tmp_path)


def environment() -> Path:
    """The Python of an environment with `OLD`; made if it is not there, by one test at a time."""
    name = f"{'-'.join(OLD)}-py{sys.version_info[0]}.{sys.version_info[1]}".replace("==", "-")
    folder = platformdirs.user_cache_path("phoundry-tests") / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            install(folder / "bin" / "python")
            (folder / "complete").touch()
    return folder / "bin" / "python"


def install(python: Path) -> None:
    """Install `OLD`. Skips the test only where no package index has the package's name."""
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "install", "--quiet", *OLD], capture_output=True, text=True)
    if done.returncode == 0:
        return
    asked = subprocess.run([*pip, "index", "versions", "datasets"], capture_output=True, text=True)
    if asked.returncode != 0:
        pytest.skip(f"no package index answers: {asked.stderr.strip().splitlines()[-1]}")
    pytest.fail(done.stderr[-3000:])
