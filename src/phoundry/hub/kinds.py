"""The two kinds of repositories that we read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Kind:
    """`name` is the hub's word, `noun` ours; `hint` is what needs no hub, for messages."""

    name: Literal["model", "dataset"]
    noun: str
    hint: str = ""

    @property
    def prefix(self) -> str:
        """What stands before the id in the addresses of its pages and files."""
        return "" if self.name == "model" else f"{self.name}s/"


MODEL = Kind("model", "model", hint=" smollm2-135m-instruct needs no hub.")
DATASET = Kind("dataset", "data set")
