"""Documents taken apart, and a home on which their commands run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.site import Site

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to"
BLOCK = re.compile(r"^```(sh|python|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True)
class Block:
    """A block that can be run: `sh`, `python`, or `console` (commands with what they print)."""

    kind: str
    text: str
    line: int
    section: str

    def exchanges(self) -> Iterator[tuple[str, str]]:
        """(command, expected output) of a `console` block."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output.strip()


def blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in BLOCK.finditer(text):
        before = text[: match.start()]
        headings = re.findall(r"^#+ (.*)$", before, re.MULTILINE)
        found.append(Block(match[1], match[2], before.count("\n") + 1, headings[-1]))
    return found


class Desk:
    """A folder with the examples, in which commands run one after another as in one shell."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.folder = folder
        self._site = site
        self._state = folder.parent / "state.sh"
        self._state.write_text("")
        # llama.cpp wants tokens that the tiny tokenizer lacks of whatever is called phi3.
        self._model = folder.parent / "tiny"
        shutil.copytree(site.model, self._model)
        shutil.copytree(ROOT / "examples", folder / "examples")
        for path in (folder / "examples").glob("*.yaml"):
            path.write_text(self._localised(path.read_text()))

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run `command` in bash; variables it exports are there for the next one."""
        script = f". {self._state}\n{self._localised(command)}\nexport -p > {self._state}\n"
        environ = self._site.environ
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=environ | {"PATH": f"{Path(sys.executable).parent}:{environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def python(self, source: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "block.py").write_text(self._localised(source))
        return self.run("python block.py")

    def _localised(self, text: str) -> str:
        """With this site's port, and the tiny model in the real one's place."""
        port = self._site.environ["PHOUNDRY_GATEWAY_PORT"]
        named = re.sub(rf"\b{MODEL}\b", str(self._model), text)
        return named.replace("127.0.0.1:7411", f"127.0.0.1:{port}")


def matches(expected: str, printed: str) -> bool:
    """Whether `printed` is `expected`; `…` stands for anything. Lines of progress don't count:
    in a reader's terminal they are written over."""
    if expected == "…":
        return True
    lines = [line.rstrip() for line in printed.strip().splitlines()]
    return expected == "\n".join(line for line in lines if not line.startswith("▸ "))


def execute(desk: Desk, document: Path, block: Block) -> None:
    """Type what `block` tells to type; a `console` block must print what it shows."""
    place = f"{document.relative_to(ROOT)}:{block.line}"
    if block.kind == "console":
        for command, expected in block.exchanges():
            done = desk.run(command)
            printed = done.stdout + done.stderr
            assert matches(expected, printed), f"{place}\n$ {command}\n{printed}"
        return
    done = desk.run(block.text) if block.kind == "sh" else desk.python(block.text)
    assert done.returncode == 0, f"{place}\n{block.text}\n{done.stdout}\n{done.stderr}"
