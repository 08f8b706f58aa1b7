"""`phoundry service`, with a supervisor that writes down what it is told, and without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.cli import service
from phoundry.settings import Home
from tests.cli.conftest import Shell


@pytest.fixture
def configured(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where units are written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(service.sys, "platform", "linux")
    monkeypatch.setattr(service, "SYSTEMD", tmp_path / "no-systemd")
    return tmp_path / "config" / "systemd" / "user"


@pytest.fixture
def told(configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a systemctl was told, a line each."""
    log, tools = tmp_path / "told", tmp_path / "bin"
    tools.mkdir()
    tool = tools / "systemctl"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {log}\n[ "$2" = is-active ] && echo active\nexit 0\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(service, "SYSTEMD", tmp_path)
    return log


def test_without_systemd_it_says_what_to_run(shell: Shell, configured: Path, home: Home) -> None:
    done = shell("service", "install")
    assert done.code == 0
    [unit] = configured.iterdir()
    assert f'"PHOUNDRY_HOME={home.root}"' in unit.read_text()
    assert f"systemctl --user enable {unit.name}" in done.err
    assert f"systemctl --user start {unit.name}" in done.err
    assert "loginctl enable-linger" in done.err
    assert shell("service", "status", "-o", "json").json["installed"] is True


def test_with_systemd_it_is_enabled_and_started(shell: Shell, configured: Path, told: Path) -> None:
    done = shell("service", "install", "-o", "json")
    name = done.json["name"]
    assert (done.json["enabled"], done.err) == (True, "")
    assert told.read_text().splitlines() == [
        "--user daemon-reload",
        f"--user enable {name}",
        f"--user start {name}",
    ]
    found = shell("service", "status", "-o", "json").json
    assert (found["active"], found["current"]) == ("active", True)
    shell("service", "install", "--no-start")
    assert len(list(configured.iterdir())) == 1
    assert told.read_text().count(" start ") == 1


def test_one_that_is_old_is_said_so(
    shell: Shell, configured: Path, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("service", "install")
    monkeypatch.setenv("PHOUNDRY_PORT", "7500")
    assert shell("service", "status", "-o", "json").json["current"] is False
    assert "renews" in shell("service", "status").err


def test_it_goes_without_a_trace(shell: Shell, configured: Path, told: Path) -> None:
    name = shell("service", "install", "-o", "json").json["name"]
    told.unlink()
    assert shell("service", "uninstall").code == 0
    assert list(configured.iterdir()) == []
    assert told.read_text().splitlines() == [
        f"--user disable --now {name}",
        "--user daemon-reload",
    ]
    assert "no service" in shell("service", "uninstall").err
    assert shell("service", "status", "-o", "json").json["installed"] is False
