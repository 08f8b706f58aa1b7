"""How often each key may ask: so many requests a minute, a tenth of them at once.

A token bucket in its shortest form (the "generic cell rate algorithm" of ATM networks): of each key
one number is kept, the moment at which its bucket would be full again. A request moves it on by
60 s / `per_minute`, and is refused where that would be further ahead than the bucket is deep.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable

from phoundry.serving.errors import TooManyRequests

_SMALL = 1024  # keys that are kept without looking which of them have long been full again
_ROUNDING = 1e-9  # seconds: sums of 60 / n are off by less


class RateLimited(TooManyRequests):
    """A key of `endpoint` has used up its requests. The next one is let in after `retry_after`."""

    code = "RateLimitExceeded"
    endpoint = ""


class RateLimit:
    """For all keys of one endpoint, each for itself. Used by one event loop.

    Memory is bounded by the keys that were used in the last six seconds (a tenth of a minute): a
    full bucket is as good as none, and is dropped.
    """

    def __init__(
        self, endpoint: str, per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._full_at: dict[bytes, float] = {}
        self._sweep_at = _SMALL
        self.resize(per_minute)

    def resize(self, per_minute: int) -> None:
        """Change the limit; what keys have used of the old one still counts."""
        self.per_minute = per_minute
        self._step = 60 / per_minute  # seconds
        # At once: a tenth of a minute's requests, and at least one.
        self._depth = max(1, per_minute // 10) * self._step

    def admit(self, key: bytes) -> None:
        """Count one request of `key`.

        Raises:
            RateLimited: it would be one too many; it is not counted.
        """
        now = self._clock()
        digest = hashlib.sha256(key).digest()  # no key stays in memory for longer than its request
        full_at = max(self._full_at.get(digest, now), now) + self._step
        early = full_at - now - self._depth
        if early > _ROUNDING:
            raise self._refusal(early)
        if len(self._full_at) >= self._sweep_at:
            self._sweep(now)
        self._full_at[digest] = full_at

    def _sweep(self, now: float) -> None:
        self._full_at = {key: moment for key, moment in self._full_at.items() if moment > now}
        self._sweep_at = max(_SMALL, 2 * len(self._full_at))

    def _refusal(self, seconds: float) -> RateLimited:
        wait = max(1, math.ceil(seconds - _ROUNDING))
        error = RateLimited(
            f"This key has used up its {self.per_minute:,} requests a minute.",
            remedy=f"Ask again in {wait} s, or raise the limit: "
            f"`phoundry endpoint update {self._endpoint} --rate-limit N`.",
        )
        error.endpoint, error.retry_after = self._endpoint, wait
        return error


def renewed(before: RateLimit | None, endpoint: str, per_minute: int | None) -> RateLimit | None:
    """What limits `endpoint` from now on: what its keys have used stays used."""
    if per_minute is None:
        return None
    if before is None:
        return RateLimit(endpoint, per_minute)
    if before.per_minute != per_minute:
        before.resize(per_minute)
    return before
