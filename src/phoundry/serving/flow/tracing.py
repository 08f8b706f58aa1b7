"""What is recorded of served requests: of each what is worth it, of the rest a few a minute.

A request that failed, took long or asked a model leaves a trace. Thousands of trivial ones a second
would else push out of the store what is worth a look.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from phoundry.errors import PhoundryError
from phoundry.flows.runner import Outcome
from phoundry.flows.session.plain import as_text
from phoundry.flows.spans import Span, recording

LONG = 0.05  # seconds
EACH = 1.0  # seconds in which one of the others is kept


class Tell(Protocol):
    def __call__(self, event: str, **data: Any) -> None: ...


class Traces:
    """Tells of runs, from their threads: event `trace` with `spans`."""

    def __init__(self, tell: Tell, secrets: tuple[str, ...]) -> None:
        self._tell, self._secrets = tell, secrets
        self._kept = 0.0  # when the last one that was not worth it was kept

    def run(self, ask: Callable[[], Outcome]) -> Outcome:
        """What `ask()` returns or raises."""
        begun = time.monotonic()
        with recording() as record:
            try:
                outcome = ask()
            except PhoundryError:  # a client that left: what ran until then is told
                self._keep(record.spans)
                raise
        now = time.monotonic()
        if outcome.error or now - begun > LONG or _asked_a_model(record.spans):
            self._keep(record.spans)
        elif now - self._kept > EACH:
            self._kept = now
            self._keep(record.spans)
        return outcome

    def _keep(self, spans: list[Span]) -> None:
        told = as_text([span.to_dict() for span in spans], self._secrets)
        self._tell("trace", spans=told)


def _asked_a_model(spans: list[Span]) -> bool:
    return any(span.kind == "model" for span in spans)
