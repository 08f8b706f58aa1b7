"""Starting with the machine: what the system's own supervisor is told.

A unit of systemd (Linux), or a property list of launchd (macOS; written by its documentation, not
tested on a Mac). Both run `phoundry up --foreground` for this user, on this home, with the settings
that are in force now. No secret is written: such a file is for everybody to read.
"""

from __future__ import annotations

import hashlib
import plistlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from phoundry.settings import VARIABLES, Home, Settings

STOP_SECONDS = 90

_UNIT = """\
# Written by `phoundry service install`; `phoundry service uninstall` removes it.
[Unit]
Description=Phoundry on {description}
StartLimitIntervalSec=120
StartLimitBurst=5

[Service]
Type=exec
{environment}
ExecStart={command}
Restart=on-failure
RestartSec=5
# Ended by SIGINT, as by Ctrl-C, it ends what it runs; a job goes on with the next start. Killed, it
# leaves its workers alone (KillMode), and the one that follows adopts them.
KillSignal=SIGINT
KillMode=process
TimeoutStopSec={stop_seconds}

[Install]
WantedBy=default.target
"""


@dataclass(frozen=True, slots=True)
class Autostart:
    """The file of one home's service, and its name for the supervisor."""

    name: str
    path: Path
    text: str
    left_out: tuple[str, ...]  # variables that are set and may not stand in such a file


def command() -> list[str]:
    """This Phoundry, in the foreground. The home comes from the environment."""
    return [sys.executable, "-m", "phoundry", "up", "--foreground"]


def systemd(home: Home, environ: Mapping[str, str]) -> Autostart:
    """The user unit of `home`."""
    kept, left_out = environment(home, environ)
    name = f"{_stem(home)}.service"
    base = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    text = _UNIT.format(
        description=_escaped(str(home.root)),
        environment="\n".join(f"Environment={_quoted(f'{k}={v}')}" for k, v in kept.items()),
        command=" ".join(_quoted(word).replace("$", "$$") for word in command()),
        stop_seconds=STOP_SECONDS,
    )
    return Autostart(name, base / "systemd" / "user" / name, text, left_out)


def launchd(home: Home, environ: Mapping[str, str]) -> Autostart:
    """The launch agent of `home`."""
    kept, left_out = environment(home, environ)
    name = f"org.phoundry.{_stem(home)}"
    log = str(home.logs / "service.log")
    content = {
        "Label": name,
        "ProgramArguments": command(),
        "EnvironmentVariables": kept,
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    path = Path.home() / "Library" / "LaunchAgents" / f"{name}.plist"
    return Autostart(name, path, plistlib.dumps(content).decode(), left_out)


def environment(home: Home, environ: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The settings to keep, and the names of those that are secret (or hold one)."""
    kept, left_out = {"PHOUNDRY_HOME": str(home.root)}, list[str]()
    for variable in VARIABLES:
        value = environ.get(variable.name)
        if not value or variable.name in kept or variable.name == "PHOUNDRY_URL":
            continue
        if variable.secret or "@" in urlsplit(value).netloc or "\n" in value:
            left_out.append(variable.name)
        elif variable.name not in ("NO_COLOR", "FORCE_COLOR"):
            kept[variable.name] = value
    return kept, tuple(left_out)


def _stem(home: Home) -> str:
    """`phoundry`, and for a home of one's own choice something after it: each has its service."""
    if home.root == Settings({}).home:
        return "phoundry"
    return f"phoundry-{hashlib.sha256(str(home.root).encode()).hexdigest()[:8]}"


def _quoted(word: str) -> str:
    """A word of a unit file (systemd.syntax(7))."""
    return '"' + _escaped(word).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    return text.replace("%", "%%").replace("\n", " ")
