"""What a line gave, as it comes out of the process that ran it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class LineResult:
    """`result` has the fields of `specs.flow.FlowResult`. `inputs` and `aggregation_inputs` are for
    `aggregate` and empty where the flow does not aggregate; `kept` are the names of those that are
    no JSON and stay in the process that ran the line. `printed` is what its code printed,
    `spans` what was recorded, as text (see `recorded`), `started` seconds since 1970."""

    number: int
    result: dict[str, Any]
    inputs: dict[str, Any] = field(default_factory=dict[str, Any])
    aggregation_inputs: dict[str, Any] = field(default_factory=dict[str, Any])
    kept: list[str] = field(default_factory=list[str])
    printed: str = ""
    spans: str = ""
    started: float = 0.0
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        return self.result["error"] is not None
