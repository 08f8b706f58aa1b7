"""A dictionary whose keys are attributes too, as many flows read answers and results."""

from __future__ import annotations

from typing import Any


class Attributes(dict[str, Any]):
    """`found.key` is `found["key"]`; a key that is not there is an AttributeError."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None
