"""What the supervisors are told, read as they read it."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from phoundry.compute import autostart
from phoundry.settings import Home, Settings

WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')


def read(text: str) -> dict[str, list[str]]:
    """The settings of a unit file: each with the values of all its lines."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def unquoted(value: str) -> list[str]:
    """The words of a value, by the rules of systemd.syntax(7)."""
    words = WORD.findall(value)
    return [re.sub(r"\\(.)", r"\1", word).replace("%%", "%").replace("$$", "$") for word in words]


def environment(unit: dict[str, list[str]]) -> dict[str, str]:
    """Of `Environment=`, in which a dollar is nothing special."""
    lines = [WORD.findall(line)[0] for line in unit["Environment"]]
    pairs: list[list[str]] = [
        re.sub(r"\\(.)", r"\1", line).replace("%%", "%").split("=", 1) for line in lines
    ]
    return dict(pairs)


@pytest.mark.parametrize("name", ["home", "my home", 'a"b', "100%h", "back\\slash", "d$HOME", "ü"])
def test_a_unit_says_what_to_run_whatever_the_home_is_called(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / name)
    unit = read(autostart.systemd(home, {}).text)
    assert environment(unit) == {"PHOUNDRY_HOME": str(home.root)}
    assert unquoted(unit["ExecStart"][0]) == autostart.command()
    assert unit["ExecStart"][0].startswith(f'"{sys.executable}"')
    assert unit["Restart"] == ["on-failure"]
    assert unit["KillSignal"] == ["SIGINT"]
    assert unit["WantedBy"] == ["default.target"]


def test_settings_are_kept_and_secrets_are_not(tmp_path: Path) -> None:
    environ = {
        "PHOUNDRY_PORT": "7500",
        "HF_ENDPOINT": "https://me:canary@mirror.example",
        "HF_TOKEN": "canary",
        "PHOUNDRY_TOKEN": "canary",
        "PHOUNDRY_URL": "http://elsewhere",
        "NO_COLOR": "1",
        "PATH": "/bin",
    }
    for made in (
        autostart.systemd(Home(tmp_path), environ),
        autostart.launchd(Home(tmp_path), environ),
    ):
        assert "canary" not in made.text
        assert made.left_out == ("PHOUNDRY_TOKEN", "HF_ENDPOINT", "HF_TOKEN")
    unit = read(autostart.systemd(Home(tmp_path), environ).text)
    assert environment(unit) == {"PHOUNDRY_HOME": str(tmp_path), "PHOUNDRY_PORT": "7500"}


def test_every_home_has_a_service_of_its_own(tmp_path: Path) -> None:
    usual = autostart.systemd(Home(Settings({}).home), {"XDG_CONFIG_HOME": str(tmp_path)})
    assert usual.path == tmp_path / "systemd" / "user" / "phoundry.service"
    names = {autostart.systemd(Home(tmp_path / name), {}).name for name in "ab"}
    assert len(names | {usual.name}) == 3


def test_a_launch_agent(tmp_path: Path) -> None:
    agent = autostart.launchd(Home(tmp_path / "my <home>"), {})
    content = plistlib.loads(agent.text.encode())
    assert content["ProgramArguments"] == autostart.command()
    assert content["EnvironmentVariables"] == {"PHOUNDRY_HOME": str(tmp_path / "my <home>")}
    assert content["KeepAlive"] == {"SuccessfulExit": False}
    assert agent.path.name == f"{content['Label']}.plist"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_takes_it(tmp_path: Path) -> None:
    unit = autostart.systemd(Home(tmp_path / "a % home"), {"XDG_CONFIG_HOME": str(tmp_path)})
    unit.path.parent.mkdir(parents=True)
    unit.path.write_text(unit.text)
    (tmp_path / "run").mkdir(mode=0o700)
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit.path)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": f"{tmp_path}/run"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert unit.name not in done.stderr  # a complaint names its file and line
    assert done.returncode == 0, done.stderr
