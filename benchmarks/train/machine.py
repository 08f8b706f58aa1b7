"""The machine and the versions that figures belong to."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets")


def describe(peer: str) -> dict[str, Any]:
    """Processor, cores, load now (1, 5 and 15 minutes), versions."""
    from phoundry.version import __version__

    return {
        "machine": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load_average_at_start": [round(load, 2) for load in os.getloadavg()],
        "versions": {
            "python": platform.python_version(),
            "phoundry": __version__,
            "trl": peer.partition("==")[2],
        }
        | {name: version(name) for name in PACKAGES},
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as the kernel says it where it does."""
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
