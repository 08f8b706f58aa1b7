"""How often the tokens of streams are handed on while an engine computes.

The price of a token outside the engine is that sleeping processes wake (replica, gateway, client)
and take a core from threads that all wait for one another. So tokens are handed on in looks: at
each, those of all streams, so that one wake serves them all. A wake and a piece cost about the
same, so the time from one look to the next grows with the streams. The first token of a stream
waits for no look, nor does its end.
"""

from __future__ import annotations

EACH_SECONDS = 1 / 64  # for the wake, and for each stream
LONGEST_SECONDS = 0.2  # that a token may wait for the next look


def pause(streams: int) -> float:
    """Seconds from one look at `streams` to the next."""
    return min(LONGEST_SECONDS, (1 + streams) * EACH_SECONDS)
