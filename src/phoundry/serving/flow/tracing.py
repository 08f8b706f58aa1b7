"""What is recorded of served requests: of each what is worth it, of the rest a few a minute.

A request that failed, took long, asked a model or belongs to a caller's trace leaves one of its
own. Thousands of trivial ones a second would else push out of the store what is worth a look.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from phoundry.errors import PhoundryError
from phoundry.flows.runner import Outcome
from phoundry.flows.session.plain import as_text
from phoundry.flows.spans import Recording, asked_by, recording
from phoundry.flows.trace_context import HEADER, Caller, read
from phoundry.serving.asgi import Scope, header

LONG = 0.05  # seconds
EACH = 1.0  # seconds in which one of the others is kept
_REQUEST = re.compile(rb"[A-Za-z0-9._:-]{1,128}")  # harmless in a log


class Tell(Protocol):
    def __call__(self, event: str, **data: Any) -> None: ...


class Asked(NamedTuple):
    """What a request says of itself: the caller's trace, and its own id (`x-request-id`)."""

    caller: Caller | None = None
    request: str | None = None

    @classmethod
    def of(cls, scope: Scope) -> Asked:
        named = header(scope, b"x-request-id")
        known = named.decode() if named and _REQUEST.fullmatch(named) else None
        return cls(read(header(scope, HEADER.encode())), known)


NOBODY = Asked()


class Traces:
    """Tells of runs, from their threads: event `trace` with `spans`, `id` and where the request
    came from: `within`, `parent`, `request` of `traces.trace.Origin`."""

    def __init__(self, tell: Tell, secrets: tuple[str, ...]) -> None:
        self._tell, self._secrets = tell, secrets
        self._kept = 0.0  # when the last one that was not worth it was kept

    def run(self, ask: Callable[[], Outcome], asked: Asked = NOBODY) -> Outcome:
        """What `ask()` returns or raises."""
        begun = time.monotonic()
        with recording(told=True, caller=asked.caller) as record:
            try:
                outcome = ask()
            except PhoundryError:  # a client that left: what ran until then is told
                self._keep(record, asked)
                raise
        now = time.monotonic()
        if outcome.error or now - begun > LONG or _worth_it(record):
            self._keep(record, asked)
        elif now - self._kept > EACH:
            self._kept = now
            self._keep(record, asked)
        return outcome

    def _keep(self, record: Recording, asked: Asked) -> None:
        caller = asked.caller
        self._tell(
            "trace",
            id=record.id,
            spans=as_text([span.to_dict() for span in record.spans], self._secrets),
            within=caller.trace if caller else None,
            parent=caller.span if caller else None,
            request=asked.request,
        )


def untraced(ask: Callable[[], Outcome], asked: Asked) -> Outcome:
    """What `ask()` returns or raises; nothing is kept, and the caller's trace passes through."""
    if asked.caller is None:
        return ask()
    with asked_by(asked.caller):
        return ask()


def _worth_it(record: Recording) -> bool:
    if record.caller is not None and record.caller.sampled:
        return True
    return any(span.kind == "model" for span in record.spans)
