"""One child process, seen from its parent: start, say, hear, end."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from phoundry.flows.errors import SessionCrash, SessionTimeout
from phoundry.flows.session.redact import tail
from phoundry.settings import child_environ

# What each answer carries beside its name.
CARRIES: dict[str, tuple[str, type]] = {
    "failed": ("error", dict),
    "declined": ("event", str),
    "piece": ("text", str),
    "result": ("result", dict),
    "lines": ("results", list),
}
FAREWELL = 5.0  # seconds
SHOWN_LOG = 2_000  # characters of its output in the message about a child that died
READ_LOG = 1_000_000  # bytes of its output that are read
LOOK = 1.0  # seconds between looks whether a silent child still lives


class ChildProcess:
    """A running `python -m phoundry.flows.session` in `folder`.

    `python` is the interpreter, ours unless given. `slots` (a descriptor and how many) are what it
    runs several lines with. Its answers go to `heard` from a thread of their own, None at the end;
    `hear` reads them where none is given. `secrets` are hidden in its log.
    """

    def __init__(
        self,
        folder: Path,
        *,
        python: str | None = None,
        slots: tuple[int, int] | None = None,
        heard: Callable[[dict[str, Any] | None], None] | None = None,
    ) -> None:
        # A file without a name: what tools print may hold secrets, and is gone with the session.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        # Nothing is ever written to it: that its other end is closed says that we are gone.
        theirs, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(
                # -P: the flow's folder is not on the path before our own modules are imported.
                [python or sys.executable, "-P", "-m", "phoundry.flows.session", str(theirs)]
                + ([f"{slots[0]},{slots[1]}"] if slots else []),
                cwd=folder,
                env=child_environ() | {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                start_new_session=True,  # Ctrl-C is the parent's to handle
                pass_fds=(theirs, slots[0]) if slots else (theirs,),
            )
        except BaseException:
            os.close(self._life)
            self._log.close()
            raise
        finally:
            os.close(theirs)
        self.secrets: set[str] = set()
        self._closed = False
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._heard = heard or self._answers.put
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def say(self, request: dict[str, Any]) -> None:
        """Send one request.

        Raises:
            SessionCrash: the process is gone.
        """
        line = json.dumps(request).encode() + b"\n"
        try:
            assert self._process.stdin is not None  # noqa: S101 - PIPE above
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # ended, or closed by us
            raise self.crash() from None

    def hear(self, deadline: float, limit: float) -> dict[str, Any]:
        """The next answer, waiting until `deadline` on the monotonic clock; the process is ended
        when it passes. `limit` is the time allowed, in seconds, for the message.

        Raises:
            SessionTimeout: nothing came in time.
            SessionCrash: the process ended.
        """
        try:
            answer = self._next(deadline)
        except queue.Empty:
            self.close()
            raise SessionTimeout(
                f"The flow did not finish within {limit:g} seconds, and its process was ended.",
                remedy="Allow it more time, or look for what the tool waits for.",
            ) from None
        if answer is None:
            raise self.crash()
        return answer

    def _next(self, deadline: float) -> dict[str, Any] | None:
        while True:
            left = deadline - time.monotonic()
            try:
                return self._answers.get(timeout=max(0.0, min(left, LOOK)))
            except queue.Empty:
                if left <= LOOK:
                    raise
            self.look()

    def look(self) -> None:
        """Let the end of a process be heard of whose forks hold its pipe open."""
        if not self.alive:
            self.kill()

    def log(self, length: int = READ_LOG) -> str:
        """The last of what the flow's code printed and logged so far, without `secrets`."""
        try:
            handle = self._log.fileno()
            size = os.fstat(handle).st_size
            found = os.pread(handle, READ_LOG, max(0, size - READ_LOG))
        except (OSError, ValueError):  # closed meanwhile, by another thread
            return ""
        text = found.decode(errors="replace")
        return tail(text, list(self.secrets), length, cut=size > READ_LOG)

    def close(self) -> None:
        """End the process and what it started. May be called twice."""
        if not self._closed:
            self._closed = True
            self.kill()  # its group, even where it has ended itself: what it started may not have
            os.close(self._life)
        self._process.wait()
        for pipe in (self._process.stdin, self._log):
            if pipe is not None:
                with suppress(BrokenPipeError):  # the reader is gone, which is what we want
                    pipe.close()

    def kill(self) -> None:
        """End the process and what it started, at once; its end is heard of as any other."""
        with suppress(ProcessLookupError, PermissionError):  # it ended in between
            os.killpg(self._process.pid, signal.SIGKILL)

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - PIPE above
        with self._process.stdout as answers:
            for line in answers:
                answer = _read(line)
                if answer is None:  # a tool wrote into our pipe: what follows can't be trusted
                    self.kill()
                    break
                self._heard(answer)
        self._heard(None)

    def crash(self) -> SessionCrash:
        """Why the process is gone, which hangs up before it ends; one that doesn't is ended."""
        try:
            code = self._process.wait(timeout=FAREWELL)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        last = self.log(SHOWN_LOG).strip()
        self.close()
        return SessionCrash(
            f"The process that runs the flow ended with {how}.",
            remedy=f"The last it printed:\n{last}" if last else "It printed nothing.",
        )


def _read(line: bytes) -> dict[str, Any] | None:
    """One answer; None for what is no answer."""
    try:
        answer: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    found = cast(dict[str, Any], answer)
    name, kind = CARRIES.get(str(found.get("event")), ("event", str))
    return found if isinstance(found.get(name), kind) else None
