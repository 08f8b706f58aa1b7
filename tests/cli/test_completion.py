"""The completion of shells, asked as a shell asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from phoundry.cli import main
from phoundry.services import endpoints
from phoundry.services.context import open_context
from phoundry.services.known import NOUNS, known
from phoundry.settings import Home
from phoundry.specs.endpoint import EndpointSpec
from phoundry.store.tables import DeploymentRow, JobRow, ModelRow
from tests.cli.conftest import Shell
from tests.support.assets import make_asset

CHAT = (
    b'{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}\n'
    b'{"messages": [{"role": "user", "content": "R"}, {"role": "assistant", "content": "B"}]}\n'
)


@pytest.fixture
def full(home: Home) -> Home:
    """A home with one of everything."""
    context = open_context(home)
    make_asset(context, CHAT, name="permits")
    endpoints.create(context, EndpointSpec(name="faq"))
    with context.database.begin() as session:
        spec = {"model": "m", "engine": "llama.cpp"}
        session.add(JobRow(name="job-1", status="Completed", spec=spec))
        session.add(ModelRow(name="bot", version=2, status="Ready"))
        session.add(DeploymentRow(endpoint="faq", name="blue", state="Failed", spec=spec))
    context.database.close()
    (home.root / "flows" / "helper").mkdir(parents=True)
    return home


def ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> list[str]:
    """What bash is told after `line`."""
    monkeypatch.setenv("_PHOUNDRY_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"phoundry {line}")
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ") + 1))
    capsys.readouterr()
    try:
        main()
    except SystemExit as end:
        assert end.code in (0, None)
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dem", ["demo"]),
        ("deployment re", ["retry"]),
        ("data show p", ["permits", "permits:1"]),
        ("job cancel ", ["job-1"]),
        ("model show bo", ["bot", "bot:2"]),
        ("endpoint keys ", ["faq"]),
        ("deployment show f", ["faq/blue"]),
        ("deployment create x --endpoint ", ["faq"]),
        ("endpoint create ", []),
        ("chat fa", ["faq", "faq/blue"]),
        ("train smollm2-135", ["smollm2-135m-instruct"]),
        ("train smollm2-135m-instruct p", ["permits", "permits:1"]),
        ("prune --dr", ["--dry-run"]),
        ("nothing like ", []),
        ("data nothing ", []),
    ],
)
def test_what_can_follow(
    full: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    expected: list[str],
) -> None:
    assert ask(monkeypatch, capsys, line) == expected


def test_every_command_is_offered(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"up", "doctor", "completion"} <= set(ask(monkeypatch, capsys, ""))
    assert not home.root.exists()


def test_names_of_nothing(home: Home) -> None:
    assert {noun: known(home, noun) for noun in NOUNS} == {noun: [] for noun in NOUNS}
    home.root.mkdir()
    home.database.write_bytes(b"damaged" * 100)
    assert known(home, "data") == []


def test_a_shell_waits_for_no_orm_and_no_server(full: Home) -> None:
    code = (
        "import sys; from phoundry.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'fastapi', 'httpx', 'torch', 'rich'} & set(sys.modules)\n"
        "print('heavy', sorted(heavy))"
    )
    environ = {"_PHOUNDRY_COMPLETE": "complete_bash", "COMP_WORDS": "phoundry data show "}
    environ |= {"COMP_CWORD": "3", "PHOUNDRY_HOME": str(full.root)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["permits", "permits:1", "heavy", "[]"]


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_a_script_for_every_shell(shell: Shell, shell_name: str) -> None:
    text = shell("completion", shell_name).out
    assert "_PHOUNDRY_COMPLETE=complete_" in text
    assert "phoundry" in text


def test_bash_reads_it(shell: Shell, tmp_path: Path) -> None:
    script = tmp_path / "phoundry.sh"
    script.write_text(shell("completion", "bash").out)
    done = subprocess.run(
        ["bash", "--norc", "-c", f"source {script} && complete -p phoundry"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "phoundry" in done.stdout


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_installing_twice_is_installing_once(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell_name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    rc = tmp_path / f".{shell_name}rc"
    rc.write_text("alias ll='ls -l'")
    rc.chmod(0o600)
    assert shell("completion", shell_name, "--install").code == 2  # nobody can be asked
    assert rc.read_text() == "alias ll='ls -l'"
    assert "Written" in shell("completion", shell_name, "--install", "-y").err
    once = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert "installed already" in shell("completion", shell_name, "--install", "-y").err
    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == once
    assert rc.read_text().startswith("alias ll='ls -l'")
    assert (len(rc.read_text().splitlines()) == 1) is (shell_name == "fish")
    assert rc.stat().st_mode & 0o777 == 0o600
