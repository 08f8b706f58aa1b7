"""Which Python a flow's session runs with, and which environments there are."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phoundry.files import read_json
from phoundry.flows.environments.build import READY, Tell, add_paths, build, python_of
from phoundry.flows.environments.local import fingerprints
from phoundry.flows.environments.requirements import Requirements, read_requirements
from phoundry.settings import Home, Settings

if TYPE_CHECKING:
    from phoundry.flows.model import Flow

FILE = "requirements.txt"
_LENGTH = 16
_DAY = 24 * 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Environment:
    """One that was made: what was installed for it, its size, seconds since it was last used."""

    name: str
    place: Path
    requirements: tuple[str, ...]
    bytes: int
    idle: float

    @property
    def last_used(self) -> str:
        """Such as `today` or `12 days ago`."""
        days = int(self.idle // _DAY)
        return f"{days} day{'s' * (days != 1)} ago" if days else "today"


def interpreter_for(flow: Flow, home: Home, tell: Tell = lambda line: None) -> str | None:
    """The Python for a session of `flow`, made first where it is not there; None: this one, which
    has everything that the flow's requirements.txt asks for (or PHOUNDRY_ENVIRONMENTS is off).

    `tell` gets a line about each step of an installation.

    Raises:
        FlowEnvironmentError: the packages can't be installed.
        InvalidSource: the requirements can't be read.
    """
    if not Settings().environments:
        return None
    wanted = read_requirements(flow.root / (getattr(flow.definition, "requirements", None) or FILE))
    if not wanted.missing:
        return None
    place = home.environments / name_of(wanted, fingerprints(wanted, flow.root))
    python = python_of(place)
    if (place / READY).exists() and not python.exists():
        remove(place)  # the Python that it was made with is gone
    if not (place / READY).exists():
        build(place, wanted, flow.root, tell)
    add_paths(place)  # Phoundry itself may have moved since
    os.utime(place / READY)
    return str(python)


def name_of(wanted: Requirements, local: Sequence[str] = ()) -> str:
    """The same for the same packages under the same Python. `local`: what stands in those that are
    files of this machine."""
    key = [sys.version, sys.platform, sys.prefix, wanted.options, wanted.missing, wanted.present]
    key += [local] if local else []
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:_LENGTH]


def environments(home: Home) -> list[Environment]:
    """Those that are whole, the longest unused first."""
    found: list[Environment] = []
    for file in home.environments.glob(f"*/{READY}"):
        content: dict[str, list[str]] = read_json(file) or {}
        place = file.parent
        size = sum(each.lstat().st_size for each in place.rglob("*") if not each.is_symlink())
        idle = max(0.0, time.time() - file.stat().st_mtime)
        found.append(
            Environment(place.name, place, tuple(content.get("requirements", ())), size, idle)
        )
    return sorted(found, key=lambda each: -each.idle)


def works(place: Path) -> bool:
    """Whether the Python that the environment was made with is still there."""
    return python_of(place).exists()


def in_use(place: Path) -> bool:
    """Whether a process of this machine runs in the environment: a session, a served flow."""
    import psutil

    python = str(python_of(place).parent) + os.sep
    commands = (process.info["cmdline"] for process in psutil.process_iter(["cmdline"]))
    return any(command and command[0].startswith(python) for command in commands)


def remove(place: Path) -> None:
    """Forget an environment; its last file first, so that no half of it counts as one."""
    (place / READY).unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)
