"""What one run of one contestant gives."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.train.process import Measured


@dataclass(frozen=True, slots=True)
class Point:
    """The held-out loss after so many seconds of training."""

    seconds: float
    step: int
    loss: float


@dataclass(slots=True)
class Run:
    """`tokens` are those of conversations, prompts included and padding not, that were trained on.

    `seconds` are of training alone: no loading, no evaluation. `process_seconds` and `cpu_seconds`
    (of all threads) are of the whole process. `choices` are what was measured and chosen before the
    first step.
    """

    contestant: str
    tokens: int
    supervised: int
    steps: int
    seconds: float
    adapter: str
    curve: list[Point] = field(default_factory=list[Point])
    choices: dict[str, str] = field(default_factory=dict[str, str])
    process_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_rss: int = 0  # bytes

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds

    def take(self, measured: Measured) -> Run:
        """The run with what its process took."""
        self.process_seconds, self.cpu_seconds = measured.seconds, measured.cpu_seconds
        self.peak_rss = measured.peak_rss
        return self

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Run:
        values = json.loads(path.read_text())
        return cls(**values | {"curve": [Point(**point) for point in values["curve"]]})
