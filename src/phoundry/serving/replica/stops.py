"""Stop strings over a stream: nothing of a stop string, nor anything after it, is let through."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Feed pieces of text; get back what is certain not to be part of a stop string.

    The pieces given back, with `rest()` at the end, add up to the text before the earliest stop
    string, however the text was cut into pieces.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """What may be sent now. After a stop string `stopped` is true and nothing more comes."""
        if not self._stops:
            return text
        if self.stopped:
            return ""
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            certain, self._held = self._held[: min(found)], ""
            return certain
        cut = len(self._held) - self._possible()
        certain, self._held = self._held[:cut], self._held[cut:]
        return certain

    def rest(self) -> str:
        """What was held back and turned out to be no stop string."""
        held, self._held = self._held, ""
        return held

    def _possible(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        return max(overlap(self._held, stop) for stop in self._stops)


def overlap(text: str, wanted: str) -> int:
    """Length of the longest end of `text` that begins `wanted` and is not all of it."""
    longest = min(len(text), len(wanted) - 1)
    return next((n for n in range(longest, 0, -1) if wanted.startswith(text[-n:])), 0)
