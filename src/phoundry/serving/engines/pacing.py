"""How often the tokens of streams are handed on while an engine computes.

The price of a token outside the engine is that sleeping processes wake (replica, gateway, client)
and take a core from threads that all wait for one another. So tokens are handed on in looks: at
each, those of all streams, so that one wake serves them all, and EVENTS_PER_SECOND pieces over all
streams together. The first token of a stream waits for no look, nor does its end.
"""

from __future__ import annotations

EVENTS_PER_SECOND = 64
LONGEST_SECONDS = 0.2  # that a token may wait for the next look


def pause(streams: int) -> float:
    """Seconds from one look at `streams` to the next."""
    return min(LONGEST_SECONDS, max(1, streams) / EVENTS_PER_SECOND)
