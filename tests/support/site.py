"""A home on which the whole journey was walked, by the command line alone, with a tiny Phi-3, on a
machine without a network."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import offline
from tests.support.checkpoints import build
from tests.support.ports import free_pair

FACTS = {"red": "apples", "green": "pears", "blue": "plums", "gold": "corn"}


@dataclass(frozen=True)
class Site:
    """A home and how to run commands on it."""

    home: Path
    model: Path
    data: Path
    environ: dict[str, str]

    def run(
        self, *words: str, stdin: str | None = None, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "phoundry", *words],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def ok(self, *words: str, stdin: str | None = None, timeout: float = 240) -> str:
        done = self.run(*words, stdin=stdin, timeout=timeout)
        assert done.returncode == 0, f"phoundry {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *words: str) -> Any:
        """What the command says, run in this process: most of these only look, and to start
        another process takes many times as long as the look."""
        from phoundry.cli import main

        said, complained = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name in os.environ.keys() - self.environ.keys():
                patch.delenv(name)
            for name, value in self.environ.items():
                patch.setenv(name, value)
            with redirect_stdout(said), redirect_stderr(complained):
                code = main([*words, "-o", "json"])
        assert code == 0, f"phoundry {' '.join(words)}\n{said.getvalue()}\n{complained.getvalue()}"
        return json.loads(said.getvalue())


def files(root: Path) -> Iterator[Path]:
    """Every file below `root`, while others may be writing there."""
    for folder, _, names in os.walk(root):  # passes over a folder that has just gone
        yield from (Path(folder, name) for name in sorted(names))


def contents(root: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below `root` with what is in it. A file that is replaced meanwhile, as files of
    a control plane and a gateway are, is read as it was or as it is."""
    for path in files(root):
        with suppress(FileNotFoundError):
            if path.is_file():
                content = path.read_bytes()
                yield path, content


def chats() -> str:
    """Twenty short conversations."""
    rows: list[dict[str, Any]] = []
    for number in range(5):
        for colour, fruit in FACTS.items():
            messages = [
                {"role": "user", "content": f"What is {colour}, case {number}?"},
                {"role": "assistant", "content": f"{fruit.capitalize()} are {colour}."},
            ]
            rows.append({"messages": messages})
    return "".join(json.dumps(row) + "\n" for row in rows)


def new_site(root: Path) -> Site:
    environ = {name: value for name, value in os.environ.items() if "PHOUNDRY" not in name}
    model = root / "tiny-phi3"
    model.mkdir()
    build("phi3", model, max_position_embeddings=512)
    data = root / "colours.jsonl"
    data.write_text(chats())
    ports = free_pair()
    environ |= {
        "PHOUNDRY_HOME": str(root / "home"),
        "PHOUNDRY_PORT": str(ports[0]),
        "PHOUNDRY_GATEWAY_PORT": str(ports[1]),
        "COLUMNS": "120",
    }
    return Site(root / "home", model, data, environ)


@dataclass(frozen=True)
class Walked:
    """`site` after `phoundry up`. `network`: where attempts to leave the machine are noted."""

    site: Site
    network: Path


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    """`phoundry up colours.jsonl` has returned; everything it made is there. Made once for the
    group `journey`: whoever changes something puts it back."""
    root = tmp_path_factory.mktemp("site")
    network = root / "network"
    network.mkdir()
    made = new_site(root)
    made.environ.update(offline.environ(network))
    try:
        # Learnt by heart: a random model is so unsure that Q8_0 alone may fail the deploy gate.
        settings = ["num_train_epochs=15", "learning_rate=5e-3", "lora_r=4", "apply_lora=true"]
        flags = [word for setting in settings for word in ("--set", setting)]
        made.ok("up", str(made.data), "--model", str(made.model), *flags)
        yield Walked(made, network)
    finally:
        made.run("down")
