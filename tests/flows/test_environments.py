"""A flow whose requirements.txt asks for more than this Python has."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from phoundry.flows import load_flow
from phoundry.flows.environments import build
from phoundry.flows.environments.build import READY, FlowEnvironmentError, add_paths, refused
from phoundry.flows.environments.local import fingerprints
from phoundry.flows.environments.requirements import (
    Requirements,
    asks_for_more,
    is_own,
    local_paths,
    read_requirements,
)
from phoundry.flows.environments.use import environments, interpreter_for, name_of, remove
from phoundry.flows.errors import InvalidSource
from phoundry.flows.session.pool import SessionPool
from phoundry.settings import Home
from tests.flows.conftest import MakeFlow
from tests.flows.test_session import OpenSession, one_tool


def wheel(folder: Path, name: str, source: str) -> None:
    """A wheel of one module, `name` 1.0, in `folder`."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", source)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        file.writestr(f"{info}/WHEEL", tags)
        file.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")


def requirements(tmp_path: Path, text: str) -> Requirements:
    file = tmp_path / "requirements.txt"
    file.write_text(text)
    return read_requirements(file)


def test_only_what_is_missing_is_missing(tmp_path: Path) -> None:
    found = requirements(
        tmp_path,
        f"\ufeff# comment\npromptflow\nPrompt_Flow-tools==1.6 # ours\npromptflow[azure]>=1\n"
        f"httpx>=0.1\njinja2 == {version('jinja2')}\nHTTPX<0.1\nno-such-thing\n"
        "typer[all]\nother; python_version < '3'\n--extra-index-url https://u:p@host/simple\n"
        "./local\nlong-name>=1,\\\n  <2\ngit+https://host/x.git\npydantic --hash=sha256:00\n",
    )
    assert found.present == (
        "httpx>=0.1",
        f"jinja2 == {version('jinja2')}",
        "pydantic --hash=sha256:00",
    )
    assert found.missing == (
        "Prompt_Flow-tools==1.6",
        "HTTPX<0.1",
        "no-such-thing",
        "typer[all]",
        "./local",
        "long-name>=1,   <2",
        "git+https://host/x.git",
    )
    assert found.options == ("--extra-index-url https://u:p@host/simple",)
    assert requirements(tmp_path, "promptflow\npromptflow-tools\n") == Requirements()
    assert read_requirements(tmp_path / "none.txt") == Requirements()


@pytest.mark.parametrize(
    ("line", "own"),
    [
        ("promptflow", True),
        ("PromptFlow-Tools==1", True),
        ("promptflow_core", True),
        ("flow", False),
    ],
)
def test_names_that_are_answered_here_are_not_asked_for(line: str, own: bool) -> None:
    assert is_own(line) is own


def test_files_that_name_others(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.txt").write_text("-r ../requirements.txt\nfrom-a\n")
    found = requirements(tmp_path, "-r more/a.txt\n--requirement=more/a.txt\nhere\n")
    assert set(found.missing) == {"from-a", "here"}
    assert asks_for_more(tmp_path / "requirements.txt")
    with pytest.raises(InvalidSource, match=r"There is no file gone\.txt"):
        requirements(tmp_path, "-r gone.txt\n")
    (tmp_path / "requirements.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidSource, match="not UTF-8"):
        read_requirements(tmp_path / "requirements.txt")


def test_a_flow_gets_what_it_asks_for(
    home: Home,
    make_flow: MakeFlow,
    open_session: OpenSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One real environment, from a folder of wheels, with many looks at it."""
    wheel(tmp_path / "wheels", "phx_tiny", "WORD = 'tiny'\n")
    wheel(tmp_path / "wheels", "jinja2", "OWN = True\n")  # the flow's own wins over ours
    body = "import phx_tiny, jinja2, httpx\nreturn [phx_tiny.WORD, jinja2.OWN, sys.executable, q]"
    folder = one_tool(make_flow, body)
    lines = f"--no-index\n--find-links {tmp_path / 'wheels'}\npromptflow\nphx-tiny==1.0\nhttpx\n"
    (folder / "requirements.txt").write_text(f"{lines}jinja2==1.0\n")
    flow, told = load_flow(folder), list[str]()
    python = interpreter_for(flow, home, told.append)
    assert python is not None
    assert told[0] == "Installing for this flow, once: phx-tiny==1.0, jinja2==1.0"
    assert any(line.startswith("Installing collected packages") for line in told)
    session = open_session(folder, python=python)
    assert session.run({"q": "x"}).output == {"o": ["tiny", True, python, "x"]}
    with SessionPool(flow, python=python) as pool:
        ((_, line),) = pool.run_lines([(0, {"q": "y"})])
    assert line.result["output"] == {"o": ["tiny", True, python, "y"]}

    told.clear()
    assert interpreter_for(flow, home, told.append) == python  # found again, nothing installed
    assert told == []
    (only,) = environments(home)
    assert only.requirements[-2:] == ("phx-tiny==1.0", "jinja2==1.0")
    assert only.bytes > 1000
    assert only.idle < 600
    paths = next(only.place.rglob("zz_phoundry.pth"))
    paths.write_text("/where/phoundry/was\n")
    add_paths(only.place)
    assert str(Path(__file__).parents[2] / "src") in paths.read_text().splitlines()
    monkeypatch.setenv("PHOUNDRY_ENVIRONMENTS", "off")
    assert interpreter_for(flow, home) is None
    remove(only.place)
    assert environments(home) == []


def test_packages_that_cannot_be_had(
    home: Home, make_flow: MakeFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phoundry.flows.environments.build._venv", _bare_venv)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "1")
    folder = one_tool(make_flow, "return q")
    index = "--index-url http://user:canary@127.0.0.1:9/simple\nphx-nowhere==9\n"
    (folder / "requirements.txt").write_text(index)
    told: list[str] = []
    with pytest.raises(FlowEnvironmentError, match="The package index could not be reached") as out:
        interpreter_for(load_flow(folder), home, told.append)
    text = str(out.value)
    assert "could not be installed (phx-nowhere==9)" in text
    assert "No matching distribution found for phx-nowhere==9" in text
    assert "PHOUNDRY_ENVIRONMENTS=off" in text
    assert "canary" not in f"{text}{told}"
    assert [each.suffix for each in home.environments.iterdir()] == [".lock"]  # no half of it


def test_what_stands_in_local_files_counts(tmp_path: Path) -> None:
    (tmp_path / "tool" / "src").mkdir(parents=True)
    (tmp_path / "tool" / "pyproject.toml").write_text("[project]\nname = 'phx-tool'\n")
    module = tmp_path / "tool" / "src" / "tool.py"
    module.write_text("A = 1\n")
    (tmp_path / "w.whl").write_text("1")
    text = (
        f"./tool[fast]; python_version > '3'\n-e ./tool\nphx-tool @ file://{tmp_path}/tool\nw.whl\n./w.whl\n"
        "phx-b @ https://host/b.whl\ngit+https://host/c/d\nphx-e\n"
    )
    found = requirements(tmp_path, text)
    assert [line for line in found.options if "-e" in line] == []
    assert local_paths(found) == [
        ("./tool", False), ("./tool", True), (f"{tmp_path}/tool", False), ("w.whl", False),
        ("./w.whl", False),
    ]  # fmt: skip
    first = fingerprints(found, tmp_path)
    assert first == fingerprints(found, tmp_path)
    assert first[0] == first[2]
    (tmp_path / "tool" / "__pycache__").mkdir()
    (tmp_path / "tool" / "__pycache__" / "x.pyc").write_text("made")
    assert fingerprints(found, tmp_path) == first
    module.write_text("A = 2\n")  # an editable package is used where it is
    second = fingerprints(found, tmp_path)
    assert [a != b for a, b in zip(first, second, strict=True)] == [True, False, True, False, False]
    (tmp_path / "tool" / "pyproject.toml").write_text("[project]\nname = 'phx-other'\n")
    third = fingerprints(found, tmp_path)
    assert [a != b for a, b in zip(second, third, strict=True)] == [True, True, True, False, False]
    assert len({name_of(found, each) for each in (first, second, third)}) == 3
    (tmp_path / "w.whl").unlink()  # what is missing is pip's to tell
    assert fingerprints(found, tmp_path) != third


def test_constraints_of_the_users_own_hold(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "limits.txt").write_text("# ours\nsix<2\npromptflow==1.0\n")
    (tmp_path / "more" / "r.txt").write_text("-c limits.txt\nno-such-thing\n")
    text = "-r more/r.txt\n--constraint=http://host/c.txt\n"
    found = requirements(tmp_path, text)
    assert found.missing == ("no-such-thing",)
    assert found.present == ("six<2",)
    assert found.options == ("--constraint=http://host/c.txt",)
    other = name_of(found)
    (tmp_path / "more" / "limits.txt").write_text("six<1\n")
    assert name_of(requirements(tmp_path, text)) != other
    (tmp_path / "more" / "limits.txt").unlink()
    with pytest.raises(InvalidSource, match=r"no file limits\.txt"):
        requirements(tmp_path, text)


def test_logins_of_an_index_are_told_nobody() -> None:
    wanted = Requirements(("x @ git+https://me:secret@host/x.git",))
    assert "secret" not in str(refused(wanted, ["ERROR: no"]))


def test_what_pip_says_is_told_with_what_to_do() -> None:
    wanted = Requirements(missing=("a==9",))
    said = ["Collecting a==9", "ERROR: Could not find a version that satisfies a==9", "hint"]
    error = refused(wanted, said)
    assert "satisfies a==9" in error.message
    assert "hint" not in error.message
    assert "Correct the versions" in str(error)
    odd = refused(wanted, ["error: cannot build from http://me:secret@host/x"])
    assert "http://***@host/x" in odd.message
    assert odd.codes == ["UserError", "FlowEnvironmentError"]


def _bare_venv(place: Path, own_pip: bool, lock: int) -> None:
    """An environment as far as pip looks at it when it finds nothing to install."""
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").symlink_to(sys.executable)
    (place / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).parent}\n")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (place / "lib" / version / "site-packages").mkdir(parents=True)


def test_pip_holds_the_lock_and_may_outlive_who_started_it(tmp_path: Path) -> None:
    lock, said = tmp_path / "e.lock", list[str]()
    program = "import os, sys\nprint(os.fstat(int(sys.argv[1])).st_ino)"
    with build.alone(lock, said.append) as held:
        command = [sys.executable, "-c", program, str(held)]
        assert list(build.output_of(command, tmp_path, said, held)) == [f"{lock.stat().st_ino}\n"]
        child = subprocess.Popen(["sleep", "600"], pass_fds=(held,))
    try:
        with lock.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        child.kill()
        child.wait()
    with build.alone(lock, said.append):
        pass
    assert said == [str(lock.stat().st_ino), "0"]


def test_two_makers_make_one(
    home: Home, make_flow: MakeFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr("phoundry.flows.environments.build._venv", _bare_venv)

    def install(place: Path, *rest: object) -> None:
        made.append(str(place))

    monkeypatch.setattr("phoundry.flows.environments.build._install", install)
    folder = one_tool(make_flow, "return q")
    (folder / "requirements.txt").write_text("phx-nowhere\n")
    flow, found = load_flow(folder), list[str | None]()
    half = home.environments / name_of(read_requirements(folder / "requirements.txt"))
    (half / "bin").mkdir(parents=True)
    (half / "rest-of-a-killed-one").write_text("")
    threads = [
        threading.Thread(target=lambda: found.append(interpreter_for(flow, home))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [str(half / "bin" / "python")] * 3
    assert len(made) == 1
    assert not (half / "rest-of-a-killed-one").exists()
    assert json.loads((half / READY).read_text()) == {"requirements": ["phx-nowhere"]}
    (half / "bin" / "python").unlink()  # the Python that it stood on is gone: made anew
    assert interpreter_for(flow, home) == found[0]
    assert len(made) == 2
    assert os.access(str(found[0]), os.X_OK)
