"""How much memory a process with the user's code may have."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# Address space is more than memory: each thread's stack and arena take some without using it. A
# smaller limit would end flows that fit; where the machine allows less, the kernel ends the child.
LEAST = 2_000_000_000  # bytes
GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def memory_of_machine(groups: Path = GROUPS, own: Path = OWN) -> int:
    """Bytes: of the machine, or what its container allows, if that is less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [limit for file in _files(groups, own) if (limit := _limit(file)) is not None]
    return min(whole, max(LEAST, min(limits, default=whole)))


def _files(groups: Path, own: Path) -> list[Path]:
    """Where the limits of this process's group and of those above it stand: in the tree of version
    2, or in the one of memory of version 1. In a container its group is the root."""
    found: list[Path] = []
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = (*line.split(":", 2), "", "")[:3]
            if controllers not in ("", "memory") or not path:
                continue
            root = groups / "memory" if controllers else groups
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            parts = Path(path.lstrip("/")).parts
            found += [root.joinpath(*parts[:count], name) for count in range(len(parts) + 1)]
    return found


def _limit(file: Path) -> int | None:
    """None: no limit, or no such file."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # `max` is no number
        return None
