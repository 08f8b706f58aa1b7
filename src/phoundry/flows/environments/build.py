"""Making an environment: `venv`, then pip, then a file that says it is whole.

It is made where it stays, because the scripts in it name their own place, and counts only once
`environment.json` is there, which is written last; a lock keeps two makers apart.
"""

from __future__ import annotations

import fcntl
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from phoundry.files import write_atomic, write_json
from phoundry.flows.environments.requirements import Requirements
from phoundry.flows.errors import FlowUserError
from phoundry.settings import child_environ

READY = "environment.json"
PATHS = "zz_phoundry.pth"  # read after the flow's own packages, which win
BASE = ("phoundry", "ruamel.yaml", "jinja2", "httpx")  # what a session's process may import
SHOWN = 6  # lines of pip's complaint
_STEPS = ("Collecting ", "Downloading ", "Building wheel", "Installing collected")
_LOGIN = re.compile(r"://[^/\s@]+@")
_OFFLINE = ("NewConnectionError", "NameResolutionError", "Connection refused", "ConnectTimeout")
_NONE = ("No matching distribution found", "ResolutionImpossible", "Could not find a version")

Tell = Callable[[str], None]


class FlowEnvironmentError(FlowUserError):
    """The packages of a flow's requirements.txt could not be installed."""

    code = "FlowEnvironmentError"


def build(place: Path, wanted: Requirements, root: Path, tell: Tell) -> None:
    """Make the environment for `wanted` at `place`, unless another process just has.

    `root` is the flow's folder, from which relative paths in its requirements are meant. `tell`
    gets a line about each step.

    Raises:
        FlowEnvironmentError: it can't be made; nothing is left then.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with alone(place.with_suffix(".lock"), tell) as lock:
        if (place / READY).exists():
            return
        shutil.rmtree(place, ignore_errors=True)  # of a process that was killed at it
        try:
            own_pip = importlib.util.find_spec("pip") is not None
            tell(f"Installing for this flow, once: {_shown(', '.join(wanted.missing))}")
            _venv(place, own_pip, lock)
            _install(place, wanted, root, own_pip, tell, lock)
            add_paths(place)
            lines = [_shown(line) for line in (*wanted.options, *wanted.missing)]
            write_json(place / READY, {"requirements": lines})
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise


def python_of(place: Path) -> Path:
    return place / "bin" / "python"


def add_paths(place: Path) -> None:
    """Let the environment at `place` import Phoundry and what it needs, after its own packages."""
    folders = {_home_of(name) for name in BASE}
    text = "".join(f"{folder}\n" for folder in sorted(folders))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    file = place / "lib" / version / "site-packages" / PATHS
    if not file.exists() or file.read_text() != text:
        write_atomic(file, text)


def _home_of(module: str) -> str:
    """The folder on the import path that has `module`."""
    spec = importlib.util.find_spec(module)
    origin = spec.origin if spec is not None else None
    if origin is None:
        raise FlowEnvironmentError(f"This installation lacks {module}, which flows need.")
    depth = module.count(".") + 1
    return str(Path(origin).parents[depth])


@contextmanager
def alone(lock: Path, tell: Tell) -> Generator[int]:
    """Hold `lock`. Programs that are given its descriptor hold it, too: they may outlive us."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("Another process installs the same packages; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _venv(place: Path, own_pip: bool, lock: int) -> None:
    command = [sys.executable, "-m", "venv", *(["--without-pip"] if own_pip else []), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=(lock,))
    if done.returncode:
        raise FlowEnvironmentError(
            f"No environment could be made for the flow: {_tail(done.stdout + done.stderr)}",
            remedy="Is Python's venv module installed (on Debian: apt install python3-venv)?",
        )


def _install(
    place: Path, wanted: Requirements, root: Path, own_pip: bool, tell: Tell, lock: int
) -> None:
    pip = (
        [sys.executable, "-m", "pip", "--python", str(python_of(place))]
        if own_pip
        else [str(python_of(place)), "-m", "pip"]
    )
    with tempfile.TemporaryDirectory() as folder:
        lines, limits = Path(folder) / "requirements.txt", Path(folder) / "constraints.txt"
        lines.write_text("\n".join([*wanted.options, *wanted.missing, ""]))
        # What is there already is not installed again; a package that is must get on with it.
        limits.write_text("\n".join([*map(_constraint, wanted.present), ""]))
        said: list[str] = []
        command = [*pip, "install", "--no-input", "--disable-pip-version-check"]
        command += ["--progress-bar", "off", "-r", str(lines), "-c", str(limits)]
        for line in output_of(command, root, said, lock):
            if line.lstrip().startswith(_STEPS):
                tell(_shown(line.strip()))
    if said[-1] != "0":
        raise refused(wanted, said[:-1])


def _constraint(line: str) -> str:
    """A requirement as a constraint, which has neither extras nor hashes."""
    return re.sub(r"\[[^\]]*\]", "", re.split(r"\s--hash[=\s]", line)[0])


def output_of(command: Sequence[str], folder: Path, said: list[str], lock: int) -> Iterator[str]:
    """The output of `command` line by line, also into `said`; its exit code is the last of it."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=child_environ() | {"PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(lock,),
    )
    try:
        assert process.stdout is not None  # noqa: S101 - PIPE above
        for line in process.stdout:
            said.append(line.rstrip())
            yield line
        said.append(str(process.wait()))
    finally:
        if process.poll() is None:  # interrupted
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def refused(wanted: Requirements, said: list[str]) -> FlowEnvironmentError:
    """What pip `said` when it could not install `wanted`, and what helps."""
    text = "\n".join(said)
    if any(word in text for word in _OFFLINE):
        remedy = (
            "The package index could not be reached. Connect, or point pip at an index or a folder "
            "of wheels (PIP_INDEX_URL, PIP_FIND_LINKS)."
        )
    elif any(word in text for word in _NONE):
        remedy = "Correct the versions in the flow's requirements.txt."
    else:
        remedy = "Try the same with pip in an environment of your own."
    return FlowEnvironmentError(
        "The flow's packages could not be installed "
        f"({_shown(', '.join(wanted.missing))}): {_tail(text)}",
        remedy=f"{remedy} To run with the packages that are here: PHOUNDRY_ENVIRONMENTS=off",
    )


def _tail(text: str) -> str:
    """What went wrong, as pip tells it: its errors, else its last lines; no logins of an index."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return _shown("\n".join((errors or lines)[-SHOWN:]))


def _shown(text: str) -> str:
    """`text` without the logins of the addresses in it."""
    return _LOGIN.sub("://***@", text)
