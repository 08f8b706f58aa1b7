"""The two sides of the comparison: the same actions, each side's command for them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.flows import peer
from benchmarks.flows.material import QUESTION, make_flows
from benchmarks.train.process import Measured, run_command

ROOT = Path(__file__).parents[2]


@dataclass(slots=True)
class Side:
    """`name` is `phoundry` or `promptflow`; `bin` holds its Python and its command."""

    name: str
    bin: Path
    folder: Path
    environ: dict[str, str]
    _runs: int = field(default=0, repr=False)

    @property
    def ours(self) -> bool:
        return self.name == "phoundry"

    def flow(self, name: str) -> Path:
        return self.folder / name

    def test(self, flow: str) -> list[str]:
        """The command that runs a flow once."""
        inputs = ["--inputs", f"question={QUESTION}"]
        if self.ours:
            # As JSON, which is what Prompt flow prints.
            words = ["flow", "test", str(self.flow(flow)), *inputs, "-o", "json"]
            return [self._command("phoundry"), *words]
        return [self._command("pf"), "flow", "test", "--flow", str(self.flow(flow)), *inputs]

    def batch(self, flow: str, data: Path) -> list[str]:
        """The command that runs a flow over the lines of `data`."""
        name = "phoundry" if self.ours else "pf"
        return [
            *[self._command(name), "run", "create", "--flow", str(self.flow(flow))],
            *["--data", str(data), "--column-mapping", "question=${data.question}"],
        ]

    def serve(self, flow: str, port: int) -> list[str]:
        """The command that puts a flow behind `127.0.0.1:port`."""
        name = "phoundry" if self.ours else "pf"
        return [
            *[self._command(name), "flow", "serve", "--source", str(self.flow(flow))],
            *["--port", str(port), "--host", "127.0.0.1", "--skip-open-browser"],
        ]

    def lines(self, flow: str) -> list[str]:
        """The command that times lines of a flow within one process."""
        return [
            str(self.bin / "python"),
            "-m",
            "benchmarks.flows.lines",
            self.name,
            str(self.flow(flow)),
        ]

    def run(self, command: list[str]) -> tuple[Measured, str]:
        """Run `command` to its end: time, memory, and what it printed.

        Raises:
            Failed: it did not end well.
        """
        self._runs += 1
        log = self.folder / f"log-{self._runs}.txt"
        measured = run_command(command, log=log, environ=self.environ)
        return measured, log.read_text(errors="replace")

    def _command(self, name: str) -> str:
        return str(self.bin / name)


def make_sides(folder: Path, cache: Path, with_peer: bool) -> list[Side]:
    """Ours, and Prompt flow's where it is wanted, each with its own copy of the flows."""
    ours = {**os.environ, "PHOUNDRY_HOME": str(folder / "home")}
    sides = [Side("phoundry", Path(sys.executable).parent, folder / "phoundry", ours)]
    if with_peer:
        environ = peer.environment(folder / "pf-home")
        sides.append(Side("promptflow", peer.install(cache), folder / "promptflow", environ))
    for side in sides:
        make_flows(side.folder)
    return sides
