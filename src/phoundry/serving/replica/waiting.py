"""What a member of a pool is while it is served: a process that waits, as small as can be.

    python -ISE waiting.py DOOR RUN_DIR

`member.py` puts this in its own place (exec), so that pid, start time and lock stay; it waits for
a signal, or for the pool to hang up at the file descriptor DOOR, and then puts `member.py` back,
which is told why: "stopped" or "gone". Ten members hold 3 MB each this way, and not 11.

Run as a file and without site packages: it must import nothing but what is here, and of that the
modules beneath `os` and `signal`, which alone bring a megabyte.
"""

import _signal as signal  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
import posix
import sys

_STOPS: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)  # pyright: ignore[reportUnknownVariableType]


class _Told(Exception):
    pass


def wait(door: int) -> str:
    """Why the waiting is over. From then on signals are ignored: they have nothing more to say."""
    for number in _STOPS:
        signal.signal(number, _told)
    try:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)  # one may have come meanwhile
            while posix.read(door, 4096):
                pass
        except OSError:
            pass
        _ignore()
    except _Told:
        return "stopped"
    return "gone"


def _told(*_: object) -> None:
    _ignore()
    raise _Told


def _ignore() -> None:
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    told = wait(int(sys.argv[1]))
    words = ["-m", "phoundry.serving.replica.member", sys.argv[2], sys.argv[1], told]
    posix.execv(sys.executable, [sys.executable, *words])
