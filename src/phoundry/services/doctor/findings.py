"""What a check is given, and how it says what it found."""

from __future__ import annotations

from dataclasses import dataclass

from phoundry.settings import Home, Settings
from phoundry.specs.care import Check


@dataclass(frozen=True, slots=True)
class Place:
    """What is examined. `offline`: ask nothing beyond this machine."""

    home: Home
    settings: Settings
    offline: bool = False


def ok(name: str, found: str) -> Check:
    return Check(name=name, state="ok", found=found)


def warn(name: str, found: str, remedy: str) -> Check:
    """It works, but not well, or not all of it."""
    return Check(name=name, state="warn", found=found, remedy=remedy)


def fail(name: str, found: str, remedy: str) -> Check:
    """Phoundry does not work with this."""
    return Check(name=name, state="fail", found=found, remedy=remedy)


def size(count: float) -> str:
    """Bytes in gigabytes, as memory and disks are sold."""
    return f"{count / 1e9:,.1f} GB"
