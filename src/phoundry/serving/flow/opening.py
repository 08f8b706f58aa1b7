"""What a serving process is told by who starts it, over a pipe: secrets are in it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from phoundry.errors import PhoundryError
from phoundry.flows.document import find_file
from phoundry.flows.prepare import Connections
from phoundry.flows.session.written import written_secrets

TIMEOUT = 600.0  # seconds of one request, as Prompt flow allows a line
GRACE = 10  # seconds that requests in flight have to end when the process is told to
THREADS = 16  # lines at once


@dataclass(frozen=True, slots=True)
class Opening:
    """`chosen`, `values` and `overrides` are those of `flows.prepare.Connections`.

    `environment` are variables for the flow besides its own; `init` the arguments of a flex flow's
    class. `key`: what a request must carry, or None. `names`: names of this server besides those of
    loopback. `python`: the interpreter of the flow's own environment, or None for this one.
    `traced`: whether what happens in requests is told.
    `memory_limit` bounds the address space, in bytes.
    """

    path: str
    variant: str | None = None
    chosen: Mapping[str, str] = field(default_factory=dict[str, str])
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    overrides: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    init: Mapping[str, Any] = field(default_factory=dict[str, Any])
    key: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()
    static: str | None = None
    feedback: str | None = None
    memory_limit: int | None = None
    timeout: float = TIMEOUT
    grace: int = GRACE
    threads: int = THREADS
    python: str | None = None
    traced: bool = False

    @property
    def connections(self) -> Connections:
        return Connections(self.chosen, self.values, self.overrides)

    @property
    def secrets(self) -> list[str]:
        """What must stand in no message and no log: also what the flow's files hold of secrets."""
        found = {text for item in self.values.values() for text in item.get("secrets", {}).values()}
        with suppress(PhoundryError):  # whoever loads the flow says so
            found |= written_secrets(find_file(Path(self.path)), self.environment, self.init)
        return sorted({*found, *([self.key] if self.key else [])})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Opening:
        named: dict[str, Any] = {**data, "names": tuple(data["names"])}
        return cls(**named)
