"""What every handler of a replica needs: the model that it serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from phoundry.serving.replica.defaults import NONE
from phoundry.serving.replica.generation import Generator
from phoundry.specs.deployment import GenerationDefaults


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One `Generator` under the name that answers give themselves.

    `defaults` is asked for each request, because they may change while the replica serves.
    `fingerprint` is OpenAI's: answers of the same seed are alike where it is the same.
    """

    generator: Generator
    name: str
    defaults: Callable[[], GenerationDefaults] = lambda: NONE
    fingerprint: str | None = None
