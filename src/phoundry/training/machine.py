"""What this machine's processor is good at. Reads files; imports nothing heavy."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile

from phoundry.worker import GRAPHICS

# Instructions that multiply bfloat16 matrices. Without them bfloat16 runs at under half of
# float32's speed, with them at twice.
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def machine_recommendation(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """`{"precision": "16"}` where the hardware multiplies bfloat16 itself, else `"32"`."""
    return {"precision": "16" if multiplies_bfloat16(cpuinfo) else "32"}


def multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo"), driver: Path = GRAPHICS) -> bool:
    """Whether there are instructions for products of bfloat16.

    NVIDIA's graphics processors have them, whose driver the kernel tells of; of the others the
    flags say so (x86: `flags`, ARM: `Features`). Where there is no such file the safe answer is no.
    """
    return driver.exists() or bool(cpu_flags(cpuinfo) & _BF16_FLAGS)


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction-set flags of the first processor; empty where they cannot be read."""
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(values.split())
    return frozenset()


def cores() -> int:
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def available_memory() -> int:
    """Bytes that can be had without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def resident_memory() -> int:
    """Bytes of memory this process has now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_memory() -> int:
    """Most bytes of resident memory this process ever had."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def write_rate(folder: Path, size: int) -> float:
    """Bytes a second that a file of `size` bytes is hashed and written to the disk with."""
    folder.mkdir(parents=True, exist_ok=True)
    content = os.urandom(1 << 20) * -(-size >> 20)
    begun = time.perf_counter()
    hashlib.sha256(content)
    with TemporaryFile(dir=folder) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return len(content) / (time.perf_counter() - begun)


def free_disk(folder: Path) -> int:
    """Bytes that can be written to the disk of `folder`, which may not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def process_seconds() -> float:
    """Seconds since this process was started."""
    import psutil

    return time.time() - psutil.Process().create_time()


def keep_freed_memory() -> bool:
    """Tell the C library to keep freed memory instead of giving it back; whether it took it. For a
    process of its own.

    A training step allocates and frees the same hundreds of megabytes again and again. By default
    glibc returns large blocks at once, and the kernel zeroes every page anew when they are asked
    for again: with attention's buffers that costs more than the arithmetic.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 32 << 20) and mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))
