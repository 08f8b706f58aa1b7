"""`promptflow.client`: a tool that runs another flow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phoundry.flows.load import load_flow as _load


def load_flow(source: str | Path, **_: Any) -> Any:
    """The flow in `source`; calling it with its inputs gives its outputs."""
    return _load(source)


class Flow:
    """`Flow.load(path)`, as `promptflow.core` spells it."""

    load = staticmethod(load_flow)


class PFClient:
    """The one method that tools use; runs, connections and Azure are Phoundry's own commands."""

    def test(self, flow: str | Path, inputs: dict[str, Any] | None = None, **_: Any) -> Any:
        return _load(flow)(**(inputs or {}))
