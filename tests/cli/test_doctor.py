"""`phoundry doctor` and `phoundry config`."""

from __future__ import annotations

import pytest

from phoundry.settings import Home
from tests.cli.conftest import Shell


def test_a_sound_machine(shell: Shell, home: Home) -> None:
    done = shell("doctor", "--offline", "-o", "json")
    assert done.err == ""
    report = done.json
    assert {check["state"] for check in report["checks"]} <= {"ok", "warn", "fail"}
    failed = [check for check in report["checks"] if check["state"] == "fail"]
    assert (report["ok"], done.code) == (not failed, bool(failed))
    assert all(check["remedy"] for check in report["checks"] if check["state"] != "ok")


def test_what_has_to_be_mended_ends_with_one(
    shell: Shell, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOUNDRY_PORT", "none")
    done = shell("doctor", "--offline")
    assert done.code == 1
    line = next(line for line in done.out.splitlines() if "is not a port" in line)
    assert line.startswith("FAIL  port")
    assert "→ Set it to a whole number" in done.out
    assert "Traceback" not in done.err
    assert "\x1b" not in done.out


def test_colours_where_they_are_wanted(
    shell: Shell, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[32mok\x1b[0m" in shell("doctor", "--offline").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shell("doctor", "--offline").out


def test_places(shell: Shell, home: Home) -> None:
    assert shell("config", "path", "home").out == f"{home.root}\n"
    assert shell("config", "path", "-o", "json").json["database"] == str(home.database)
    assert "not made yet" in shell("config", "path").out
    assert "database" in shell("config", "path", "databse").err
    assert not home.root.exists()


def test_settings_with_their_source_and_without_secrets(
    shell: Shell, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOUNDRY_TOKEN", "canary")
    monkeypatch.setenv("HF_TOKEN", "canary")
    monkeypatch.setenv("HF_ENDPOINT", "https://me:canary@mirror.example/hub")
    monkeypatch.setenv("PHOUNDRY_UP_PORT", "7500")
    done = shell("config", "show", "-o", "json")
    found = {each["name"]: each for each in done.json}
    assert found["PHOUNDRY_HOME"] | {"meaning": ""} == {
        "name": "PHOUNDRY_HOME",
        "value": str(home.root),
        "source": "environment",
        "meaning": "",
    }
    assert found["PHOUNDRY_HOST"]["source"] == "default"
    assert found["PHOUNDRY_UP_PORT"]["value"] == "7500"
    assert found["HF_ENDPOINT"]["value"] == "https://***@mirror.example/hub"
    assert "canary" not in done.out + shell("config", "show").out
