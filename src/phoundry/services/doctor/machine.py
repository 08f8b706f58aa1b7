"""Checks of the machine itself."""

from __future__ import annotations

import os
import platform as system
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

import phoundry
from phoundry.compute import machine
from phoundry.services.doctor.findings import Place, fail, ok, size, warn
from phoundry.specs.care import Check

NEEDS_PYTHON = (3, 11)
LOW_MEMORY = 4e9  # bytes free: the smallest base model trains in about two
LEAST_MEMORY = 1e9
CPUINFO = Path("/proc/cpuinfo")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
BF16_FLAGS = ("amx_bf16", "avx512_bf16", "avx_ne_convert")
TOOL_SECONDS = 5.0


def python(place: Place) -> Iterator[Check]:
    found = f"{system.python_version()} at {sys.executable}"
    if sys.version_info < NEEDS_PYTHON:
        yield fail("python", found, "Install Python 3.11 or newer, and Phoundry in it.")
    else:
        yield ok("python", found)


def platform(place: Place) -> Iterator[Check]:
    uname = system.uname()
    found = f"{uname.system} {uname.release} on {uname.machine}"
    if uname.system == "Darwin":
        yield warn("platform", found, "macOS is not tested: what fails there is worth a report.")
    elif uname.system != "Linux":
        yield fail("platform", found, "Use Linux, or on Windows Linux in WSL 2.")
    elif "microsoft" not in uname.release.lower():
        yield ok("platform", found)
    elif "wsl2" not in uname.release.lower():
        yield warn("platform", f"{found} (WSL 1)", "Change to WSL 2: wsl --set-version DISTRO 2")
    elif str(place.home.root).startswith("/mnt/"):
        remedy = "Windows' disks are slow from Linux: set PHOUNDRY_HOME to a folder below ~."
        yield warn("platform", f"{found} (WSL 2), home on a disk of Windows", remedy)
    else:
        yield ok("platform", f"{found} (WSL 2)")


def cores(place: Place) -> Iterator[Check]:
    usable, there = machine.cores(), os.cpu_count() or 1
    found = f"{usable} usable" + (f" of {there}" if usable < there else "")
    if usable < 2:
        yield warn("cores", found, "Training and serving share it: expect them to be slow.")
    else:
        yield ok("cores", f"{found}; {instructions()}")


def instructions() -> str:
    """What the processor has for bfloat16, the numbers that training computes with."""
    if not CPUINFO.exists():
        return "bfloat16 instructions unknown on this system"
    lines = CPUINFO.read_text().splitlines()
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    found = [flag for flag in BF16_FLAGS if flag in flags]
    if found:
        return "bfloat16 in hardware (" + ", ".join(found) + ")"
    return "no bfloat16 instructions: training runs in float32, slower"


def memory(place: Place) -> Iterator[Check]:
    there = psutil.virtual_memory()
    available = machine.available_memory()
    found = f"{size(available)} free of {size(there.total)}"
    if place.settings.memory_limit is not None:
        found += f" (PHOUNDRY_MEMORY_LIMIT {size(place.settings.memory_limit)})"
    limit = _group_limit()
    if limit is not None and limit < there.total:
        found += f"; this container may use {size(limit)}"
        available = min(available, limit)
    remedy = "End other programs, or choose a smaller model (`phoundry model list --catalog`)."
    if available < LEAST_MEMORY:
        yield fail("memory", found, remedy)
    elif available < LOW_MEMORY:
        yield warn("memory", found, remedy)
    else:
        yield ok("memory", found)


def _group_limit() -> int | None:
    """Bytes that this container may use, or None without a limit."""
    try:
        text = CGROUP_LIMIT.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def gpu(place: Place) -> Iterator[Check]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield ok("gpu", "none (not needed: training and serving run on the processor)")
        return
    ask = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=TOOL_SECONDS)
    except subprocess.TimeoutExpired:
        yield warn("gpu", "nvidia-smi does not answer", "Look at the driver; it is not needed.")
        return
    names = "; ".join(line.strip() for line in answer.stdout.splitlines() if line.strip())
    if answer.returncode or not names:
        yield warn("gpu", "nvidia-smi finds none", "Look at the driver; it is not needed.")
    else:
        yield ok("gpu", f"{names} (this version computes on the processor)")


def clock(place: Place) -> Iterator[Check]:
    installed = Path(phoundry.__file__).stat().st_mtime
    found = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    if time.time() < installed - 86_400:
        remedy = "Set the clock: keys, certificates and histories depend on it."
        yield warn("clock", f"{found}, before Phoundry was installed", remedy)
    else:
        yield ok("clock", found)
