"""What one run of one contestant gives."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Point:
    """The held-out loss after so many seconds of training."""

    seconds: float
    step: int
    loss: float


@dataclass(slots=True)
class Run:
    """`tokens` are those of conversations, prompts included and padding not, that were trained on.

    `seconds` are of training alone: no loading, no evaluation. `process_seconds` are of the whole
    process.
    """

    contestant: str
    tokens: int
    supervised: int
    steps: int
    seconds: float
    adapter: str
    curve: list[Point] = field(default_factory=list[Point])
    process_seconds: float = 0.0
    peak_rss: int = 0  # bytes

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Run:
        values = json.loads(path.read_text())
        return cls(**values | {"curve": [Point(**point) for point in values["curve"]]})
