"""How fast engines serve a model on this machine."""

from __future__ import annotations

from pydantic import Field

from phoundry.specs.base import Preparation, View
from phoundry.specs.quantization import Quantization


class EngineSpeed(View):
    engine: str
    streams: int = Field(description="Conversations at once")
    tokens_per_second: float = Field(description="Of all of them together")


class EngineSpeeds(View):
    """What was measured on this machine, with this model file."""

    model: str
    quantization: Quantization
    speeds: list[EngineSpeed] = Field(default_factory=list[EngineSpeed])
    left_out: dict[str, str] = Field(
        default_factory=dict[str, str], description="Engines that cannot serve it here, and why"
    )
    preparation: Preparation | None = None

    @property
    def measured(self) -> bool:
        return bool(self.speeds or self.left_out)

    def fastest(self, streams: int) -> list[EngineSpeed]:
        """One of each engine, fastest first, at the number of conversations nearest below
        `streams`."""
        known = {each.streams for each in self.speeds}
        at = max((each for each in known if each <= streams), default=min(known, default=0))
        found = [each for each in self.speeds if each.streams == at]
        return sorted(found, key=lambda each: -each.tokens_per_second)
