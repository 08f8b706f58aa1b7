"""The doctor: what is in order is said so, what is not comes with its remedy."""

from __future__ import annotations

import socket
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from phoundry.files import write_json
from phoundry.services import addresses, connections, doctor
from phoundry.services.context import open_context
from phoundry.services.doctor import machine, packages
from phoundry.services.doctor.findings import Place, ok
from phoundry.settings import Home, Settings
from phoundry.specs.care import Check
from phoundry.specs.connection import ConnectionSpec


@pytest.fixture(autouse=True)
def without_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def made(home: Home) -> Home:
    """A home with a secret in it."""
    context = open_context(home)
    spec = {"name": "c", "type": "custom", "secrets": {"key": "canary-of-a-secret"}}
    connections.create(context, ConnectionSpec.model_validate(spec))
    context.database.close()
    return home


def examine(home: Home, *, offline: bool = True) -> dict[str, Check]:
    return {check.name: check for check in doctor.examine(home, offline=offline)}


def test_a_home_that_is_not_there_is_in_order_and_stays_away(home: Home) -> None:
    found = examine(home)
    assert [check for check in found.values() if check.state == "fail"] == []
    assert "not made yet" in found["home"].found
    assert found["hub"].found.endswith("was not asked (--offline)")
    assert not home.root.exists()


def test_a_home_in_use(made: Home) -> None:
    found = examine(made)
    assert {found[name].state for name in ("home", "key file", "database")} == {"ok"}
    assert "opens what is stored" in found["key file"].found
    assert "canary" not in str(found)


def test_whoever_has_to_do_something_is_told_what(made: Home) -> None:
    made.root.chmod(0o755)
    made.vault_key.chmod(0o644)
    found = examine(made)
    assert (found["home"].state, found["key file"].state) == ("warn", "fail")
    assert found["home"].remedy == f"Run: chmod 700 {made.root}"
    assert found["key file"].remedy == f"Run: chmod 600 {made.vault_key}"


@pytest.mark.parametrize("content", [None, "", "not-a-key", "QUFB" * 11])
def test_a_key_file_that_opens_nothing(made: Home, content: str | None) -> None:
    made.vault_key.unlink()
    if content is not None:
        made.vault_key.touch(0o600)
        made.vault_key.write_text(content)
    check = examine(made)["key file"]
    assert check.state == "fail"
    assert "back" in (check.remedy or "")


def test_a_newer_database(made: Home) -> None:
    with sqlite3.connect(made.database) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    check = examine(made)["database"]
    assert check.state == "fail"
    assert "Upgrade Phoundry" in (check.remedy or "")


def test_an_older_database_is_only_looked_at(made: Home) -> None:
    with sqlite3.connect(made.database) as connection:
        connection.execute("update alembic_version set version_num = '0001'")
    assert examine(made)["database"].state in ("warn", "ok")  # ok while 0001 is the newest
    assert not made.backups.exists()


def test_a_damaged_database(made: Home) -> None:
    made.database.write_bytes(b"no database at all, whatever it is called" * 100)
    found = examine(made)
    assert found["database"].state == "fail"
    assert str(made.backups) in (found["database"].remedy or "")


def test_ports(made: Home, free_ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    addresses.remember_ports(made, *free_ports)
    found = examine(made)
    assert (found["port"].state, found["gateway port"].state) == ("ok", "ok")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_ports[0]))
        taken.listen()
        check = examine(made)["port"]
    assert check.state == "fail"
    assert "--port N" in (check.remedy or "")
    monkeypatch.setenv("PHOUNDRY_PORT", "high")
    assert "not a port" in examine(made)["port"].found


def test_a_control_plane_that_was_killed(made: Home) -> None:
    gone = {"pid": 2**22 - 7, "create_time": 1.0, "url": "http://127.0.0.1:9", "token": "canary"}
    write_json(made.server_file, gone)
    check = examine(made)["control plane"]
    assert check.state == "warn"
    assert "canary" not in check.found


@pytest.fixture
def hub() -> Iterator[Any]:
    """A hub that answers with `server.status` and the date `server.date`."""

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(server.status)  # type: ignore[attr-defined]
            self.send_header("Date", server.date)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    server: Any = HTTPServer(("127.0.0.1", 0), Answers)
    server.status, server.date = 200, "Sun, 01 Jan 2023 00:00:00 GMT"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_hub(home: Home, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{hub.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", f"http://user:canary@{address}")
    monkeypatch.setenv("HF_TOKEN", "canary")
    checks = doctor.examine(home)
    answered = next(check for check in checks if check.name == "hub")
    assert answered.state == "ok"
    assert answered.found.startswith(f"http://{address} answers in ")
    assert "canary" not in str(checks)
    # The hub of this test lives in 2023.
    assert [check.state for check in checks if check.name == "clock"] == ["ok", "warn"]
    hub.status = 503
    assert examine(home, offline=False)["hub"].state == "warn"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in examine(home, offline=False)["hub"].found


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "no address", "http://[", "ftp://x"])
def test_no_hub_is_a_note_and_no_failure(
    home: Home, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    check = examine(home, offline=False)["hub"]
    assert check.state == "warn"
    assert "HF_HUB_OFFLINE=1" in (check.remedy or "")


def test_a_check_that_faints_stops_no_other(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def faint(place: Place) -> Iterator[Check]:
        yield ok("first", "well")
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(doctor, "CHECKS", (("fainting", faint), *doctor.CHECKS))
    found = examine(home)
    assert found["fainting"].state == "fail"
    assert "ZeroDivisionError: oh" in found["fainting"].found
    assert "python" in found


def test_a_missing_extra_is_named_with_its_line(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "required", lambda: {"serve": ["no-such-engine"]})
    check = examine(home)["extra serve"]
    assert check.state == "warn"
    assert check.remedy == 'Install it with: pip install "phoundry[serve]"'
    assert "no-such-engine not installed" in check.found


@pytest.mark.parametrize(
    ("release", "home_at", "state", "word"),
    [
        ("6.6.87-generic", "/home/me", "ok", "Linux"),
        ("5.15.1-microsoft-standard-WSL2", "/home/me", "ok", "WSL 2"),
        ("5.15.1-microsoft-standard-WSL2", "/mnt/c/me", "warn", "disk of Windows"),
        ("4.4.0-19041-Microsoft", "/home/me", "warn", "WSL 1"),
    ],
)
def test_kinds_of_linux(
    release: str, home_at: str, state: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uname = machine.system.uname()._replace(system="Linux", release=release)
    monkeypatch.setattr(machine.system, "uname", lambda: uname)
    [check] = machine.platform(Place(Home(Path(home_at)), Settings()))
    assert check.state == state
    assert word in check.found


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ("fpu amx_bf16 avx512_bf16", "amx_bf16, avx512_bf16"),
        ("fpu sse avx2", "no bfloat16"),
    ],
)
def test_instructions(
    flags: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor : 0\nflags : {flags}\n")
    monkeypatch.setattr(machine, "CPUINFO", file)
    assert word in machine.instructions()


def test_little_memory(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "CGROUP_LIMIT", limit)
    monkeypatch.setattr(machine.machine, "available_memory", lambda: int(9e9))
    place = Place(home, Settings())
    states: list[str] = []
    for text in ("max", str(2_000_000_000), str(500_000_000)):
        limit.write_text(text)
        states += [check.state for check in machine.memory(place)]
    assert states == ["ok", "warn", "fail"]
