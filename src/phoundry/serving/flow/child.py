"""One serving process, seen from who started it."""

from __future__ import annotations

import codecs
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any, cast

from phoundry.flows.session.redact import RedactedStream, redact
from phoundry.serving.flow.opening import Opening
from phoundry.settings import child_environ

Say = Callable[["Child", dict[str, Any]], None]
HIDDEN_FROM = 4  # characters; shorter secrets would blacken ordinary words


class Child:
    """A running `python -m phoundry.serving.flow`. Its answers go to `say`, from a thread, and at
    its end `{"event": "gone", "code"}`; what it prints goes to `log`, secrets hidden."""

    def __init__(
        self, opening: Opening, listener: socket.socket, say: Say, log: Callable[[str], object]
    ) -> None:
        self.began = time.monotonic()
        self.ready = False
        self._say = say
        self._secrets = [text for text in opening.secrets if len(text) >= HIDDEN_FROM]
        descriptor = listener.fileno()
        self._process = subprocess.Popen(
            # -P: the flow's folder is not on the path before our own modules are imported.
            [
                opening.python or sys.executable,
                "-P",
                "-m",
                "phoundry.serving.flow",
                str(descriptor),
            ],
            env=child_environ() | {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[descriptor],
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        assert self._process.stdin  # noqa: S101 - PIPE above
        assert self._process.stdout  # noqa: S101
        assert self._process.stderr  # noqa: S101
        with suppress(BrokenPipeError):  # it ended already, which its listener tells
            self._process.stdin.write(json.dumps(opening.to_dict()).encode() + b"\n")
            self._process.stdin.flush()
        printed = threading.Thread(
            target=pump, args=(self._process.stderr, self._secrets, log), daemon=True
        )
        printed.start()
        listen = threading.Thread(
            target=self._listen, args=(self._process.stdout, printed), daemon=True
        )
        listen.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def terminate(self) -> None:
        """Let it answer what it has and end."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it and what it started at once. May be called twice."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within `seconds`."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _listen(self, answers: IO[bytes], printed: threading.Thread) -> None:
        with answers:
            for line in answers:
                try:
                    found: Any = json.loads(line)
                except ValueError:
                    break  # a tool wrote into our pipe: what follows can't be trusted
                if isinstance(found, dict) and "event" in found:
                    told = cast(dict[str, Any], found)
                    self._say(self, redact(told, self._secrets))
        self._end_of_group()
        code = self._process.wait()
        printed.join(1)
        self._say(self, {"event": "gone", "code": code})

    def _end_of_group(self) -> None:
        """What it started ends with it; itself, where it only closed its output."""
        if not self.wait(LINGERS):
            self.kill()


def pump(stream: IO[bytes], secrets: Sequence[str], log: Callable[[str], object]) -> None:
    """What comes from `stream`, as text without `secrets`, to `log`, until its end."""
    shown = RedactedStream(secrets)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    with stream:
        while line := stream.readline(LONGEST_LINE):
            if text := shown.feed(decoder.decode(line)):
                log(text)
    if text := shown.feed(decoder.decode(b"", final=True)) + shown.end():
        log(text)


LONGEST_LINE = 65_536  # bytes of what it prints that are held; more without a line's end go on
LINGERS = 15.0  # seconds between the last word and the end of a process


def how_it_ended(code: int) -> str:
    """`exit code 3` or `signal SIGKILL`."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
