"""`phoundry service`"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.commands import noun, verb
from phoundry.cli.output import Format, Output, Printer
from phoundry.settings import Home, child_environ

if TYPE_CHECKING:
    from phoundry.compute.autostart import Autostart

app = noun("Start Phoundry with the machine.")
SYSTEMD = Path("/run/systemd/system")  # there while systemd runs the machine
SECONDS = 120.0
_WSL = "; on WSL put `[boot]` and `systemd=true` into /etc/wsl.conf, then `wsl --shutdown`"


@verb(app, "install", example="phoundry service install")
def install(
    no_start: Annotated[
        bool, typer.Option("--no-start", help="Not now: only from the next boot on.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """Start Phoundry, and every endpoint on it, with the machine.

    Writes a unit of systemd for this user (on macOS a launch agent, which is untested), with the
    home and the settings that are in force now, and enables it. Secrets are not written into it.
    """
    from phoundry.files import write_atomic
    from phoundry.server.launch import running

    home, out = Home.current(), Printer(output)
    found = _autostart(home)
    home.make()
    home.logs.mkdir(exist_ok=True)
    write_atomic(found.path, found.text)
    out.note(f"Written: {found.path}")
    for name in found.left_out:
        out.note(f"Note: {name} holds a secret and was left out; the service runs without it.")
    start = not no_start and running(home) is None
    if not start and not no_start:
        out.note("Phoundry runs already; the service takes over with `phoundry down`, and then:")
        out.note(f"  {' '.join(_starting(found))}")
    done = _apply(out, _installing(found, start=start))
    if sys.platform != "darwin" and not _lingers():
        out.note("Without this it starts when you log in, and ends when you log out:")
        out.note(f"  loginctl enable-linger {_user()}")
    if not out.talks:
        out.value({"name": found.name, "path": str(found.path), "enabled": done})


@verb(app, "uninstall", example="phoundry service uninstall")
def uninstall() -> None:
    """Start Phoundry no longer with the machine; one that the service runs is stopped."""
    home, out = Home.current(), Printer(Format.table)
    found = _autostart(home)
    if not found.path.exists():
        out.note("There is no service of this home.")
        return
    if sys.platform == "darwin":
        _apply(out, [["launchctl", "bootout", f"gui/{os.getuid()}", str(found.path)]])
    else:
        _apply(out, [["systemctl", "--user", "disable", "--now", found.name]])
    found.path.unlink(missing_ok=True)
    if sys.platform != "darwin":
        _apply(out, [["systemctl", "--user", "daemon-reload"]])
    out.note(f"Removed: {found.path}")


@verb(app, "status", example="phoundry service status -o json")
def status(output: Output = Format.table) -> None:
    """Show whether Phoundry starts with the machine."""
    from phoundry.server.launch import running

    home = Home.current()
    found, server = _autostart(home), running(home)
    state: dict[str, Any] = {
        "name": found.name,
        "path": str(found.path),
        "installed": found.path.exists(),
        "enabled": _answer(["systemctl", "--user", "is-enabled", found.name]),
        "active": _answer(["systemctl", "--user", "is-active", found.name]),
        "lingers": _lingers(),
        "running": server is not None,
        "current": found.path.exists() and found.path.read_text() == found.text,
    }
    out = Printer(output)
    out.value(state)
    if not state["installed"]:
        out.suggest("phoundry service install")
    elif not state["current"]:
        out.note("The file is not what would be written now; `phoundry service install` renews it.")


def _autostart(home: Home) -> Autostart:
    from phoundry.compute import autostart

    make = autostart.launchd if sys.platform == "darwin" else autostart.systemd
    return make(home, os.environ)


def _installing(found: Autostart, *, start: bool) -> list[list[str]]:
    if sys.platform == "darwin":
        return [_starting(found)] if start else []
    commands = [
        ["systemctl", "--user", "daemon-reload"],
        ["systemctl", "--user", "enable", found.name],
    ]
    return [*commands, _starting(found)] if start else commands


def _starting(found: Autostart) -> list[str]:
    if sys.platform == "darwin":
        return ["launchctl", "bootstrap", f"gui/{os.getuid()}", str(found.path)]
    return ["systemctl", "--user", "start", found.name]


def _apply(out: Printer, commands: list[list[str]]) -> bool:
    """Run what the supervisor is to be told; where it cannot be, say what to run."""
    for place, command in enumerate(commands):
        reason = _refused(command)
        if reason is None:
            continue
        out.note(f"Not done: {reason}. Run, where that is mended:")
        for each in commands[place:]:
            out.note(f"  {' '.join(each)}")
        return False
    return True


def _refused(command: list[str]) -> str | None:
    """Why `command` could not be run, or None where it did."""
    if not shutil.which(command[0]):
        return f"{command[0]} is not here"
    if command[0] == "systemctl" and not SYSTEMD.exists():
        return "systemd does not run this machine" + (_WSL if _on_wsl() else "")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, env=child_environ()
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not answer"
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[-1].rstrip(".") if done.returncode else None


def _answer(command: list[str]) -> str | None:
    """The word that a command answers, or None where it is not here."""
    if not shutil.which(command[0]) or not SYSTEMD.exists():
        return None
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout.strip() or None


def _on_wsl() -> bool:
    return "microsoft" in os.uname().release.lower()


def _lingers() -> bool:
    """Whether this user's services run without a login."""
    return Path("/var/lib/systemd/linger", _user()).exists()


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
