"""Whether the replica is alive (or should be started again), and whether it can be asked."""

from __future__ import annotations

import asyncio
from typing import Any

from phoundry.errors import ModelError, Unavailable
from phoundry.serving.replica.metrics import Metrics
from phoundry.serving.replica.model import ServedModel

# A probe of Azure's waits 2 s. An engine that is at a long prompt answers later, and is not dead.
ANSWER_SECONDS = 1.5
BUSY_SECONDS = 600


def readiness(model: ServedModel, ready: bool) -> dict[str, Any]:
    """What `/health` and `/health/ready` say."""
    engine = model.generator.engine
    return {
        "status": "ready" if ready else "starting",
        "model": model.name,
        "context_length": engine.context_length,
        "slots": engine.slots,
        "features": sorted(engine.features),
    }


async def check_alive(model: ServedModel, metrics: Metrics) -> None:
    """Return where the event loop (this runs on it) and the engine's thread answer.

    An engine that does not answer at once is taken for alive for ten minutes after it last answered
    a request, gave a token or began the first: so long may a prompt take on a small machine.

    Raises:
        Unavailable: the engine is dead, or hangs.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await model.generator.engine.check()
    except TimeoutError:
        if metrics.running and metrics.idle_seconds < BUSY_SECONDS:
            return
        raise Unavailable("The engine does not answer.") from None
    except ModelError as error:
        raise Unavailable(f"The engine does not answer: {error.message}") from None
