"""Files of the hub, brought into a folder: resumed, checked, and never half there.

A file is received as `.parts/DIGEST` and takes its own name when its bytes have been compared with
the hub's listing. Whatever ends a download leaves the part, and the next one goes on from it.
(`huggingface_hub` starts anew since its version 1.20, which hurts with gigabytes.)
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from phoundry.errors import InsufficientResources, InvalidInput, Unavailable
from phoundry.files import sync_file, sync_folder
from phoundry.hub.listing import HubFile, Listing
from phoundry.hub.receive import Lied, receive
from phoundry.hub.trouble import explained, full, is_full, size

Say = Callable[[str], None]
# (name of the file, bytes that are here, bytes in all): of all files of one call together.
Report = Callable[[str, int, int], None]

_PARTS = ".parts"
LOCK = ".lock"  # among the parts; held by the process that downloads
_RESERVE = 200_000_000  # bytes of the disk that are left to others
_WORTH_SAYING = 10_000_000  # bytes
_PAUSE = 0.5  # seconds between two reports


def download(
    listing: Listing,
    files: Sequence[HubFile],
    folder: Path,
    *,
    say: Say,
    report: Report | None = None,
) -> None:
    """Bring `files` of `listing` into `folder`; what is there and right is left alone.

    One process at a time works in a folder; a second waits.

    Raises:
        InsufficientResources: the disk has not room for them, or is full meanwhile.
        InvalidInput: what came is twice not what the listing says, or leads out of the folder.
        NotFound, Forbidden, Unavailable: see `trouble.explained`; and a connection that breaks
            again and again.
    """
    for file in files:
        _inside(folder, file.path)
    (folder / _PARTS).mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        missing = [file for file in files if not _there(folder, file, say)]
        _check_room(folder, missing)
        meter = _Meter(report or (lambda name, done, total: None), sum(file.size for file in files))
        meter.done = meter.total - sum(file.size for file in missing)
        for file in missing:
            _bring(listing, file, folder, say, meter)


def spoken(say: Say) -> Report:
    """A report in sentences: one at every tenth of a download of some size."""
    said = 0

    def report(name: str, done: int, total: int) -> None:
        nonlocal said
        tenth = 10 * done // max(total, 1)
        if tenth > said and total > _WORTH_SAYING:
            said = tenth
            say(f"{size(done)} of {size(total)} ({name}).")

    return report


class _Meter:
    """Adds up what has come of all files, and reports now and then."""

    def __init__(self, report: Report, total: int) -> None:
        self._report = report
        self._last = 0.0
        self.total = total
        self.done = 0

    def show(self, name: str, received: int, *, last: bool = False) -> None:
        """`received`: bytes of the present file; the others are in `done`."""
        now = time.monotonic()
        if last or now - self._last >= _PAUSE:
            self._last = now
            self._report(name, self.done + received, self.total)


def _bring(listing: Listing, file: HubFile, folder: Path, say: Say, meter: _Meter) -> None:
    part = (
        folder
        / _PARTS
        / (file.sha256 or file.blob_id or hashlib.sha256(file.path.encode()).hexdigest())
    )
    for attempt in (1, 2):
        try:
            with explained(listing.hub_id, listing.kind):
                receive(listing, file, part, say, lambda count: meter.show(file.path, count))
        except OSError as error:
            if not is_full(error):
                raise
            left = size(meter.total - meter.done - part.stat().st_size)
            raise full(folder, f"{left} are still to be downloaded") from error
        except Lied as error:
            part.unlink(missing_ok=True)
            raise Unavailable(
                f"{listing.hub_id}: {error}.",
                remedy="Nothing of it was kept. Try again, or use another mirror (HF_ENDPOINT).",
            ) from None
        if wrong := difference(part, file):
            part.unlink()
            if attempt == 2:
                raise InvalidInput(
                    f"{listing.hub_id}: what came as {file.path} is not what the hub lists: "
                    f"{wrong}.",
                    remedy="It was deleted. Something between here and the hub changes files: "
                    "check HF_ENDPOINT and proxies, and try again.",
                )
            say(f"{file.path} came damaged ({wrong}); it is fetched again.")
            continue
        break
    sync_file(part)
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)
    sync_folder(target.parent)
    meter.done += file.size
    meter.show(file.path, 0, last=True)


def difference(path: Path, file: HubFile) -> str | None:
    """In what the bytes of `path` differ from those that the hub lists, or None.

    Large files have their SHA-256 listed, others git's SHA-1 of `blob SIZE NUL` and the bytes. A
    mirror that lists neither is taken at its word about the size.
    """
    found = path.stat().st_size
    if found != file.size:
        return f"{found:,} bytes, not {file.size:,}"
    name, wanted = "SHA-256", file.sha256
    digest = hashlib.sha256()
    if wanted is None:
        if file.blob_id is None or len(file.blob_id) != 40:
            return None
        name, wanted = "git's SHA-1", file.blob_id
        digest = hashlib.sha1(b"blob %d\0" % found, usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(1 << 20):
            digest.update(chunk)
    return None if digest.hexdigest() == wanted else f"{name} {digest.hexdigest()}, not {wanted}"


def _there(folder: Path, file: HubFile, say: Say) -> bool:
    path = folder / file.path
    if not path.is_file():
        return False
    if wrong := difference(path, file):
        say(f"The copy of {file.path} in the cache is damaged ({wrong}); it is fetched again.")
        path.unlink()
        return False
    return True


def _check_room(folder: Path, files: Sequence[HubFile]) -> None:
    """Raise InsufficientResources unless the disk has room for what has not come yet."""
    parts = sum(path.stat().st_size for path in (folder / _PARTS).iterdir() if path.is_file())
    needed = sum(file.size for file in files) - parts
    free = shutil.disk_usage(folder).free
    if files and needed + _RESERVE > free:
        raise InsufficientResources(
            f"The download needs {size(needed)} and a reserve of {size(_RESERVE)}; "
            f"the disk of {folder} has {size(free)} free.",
            remedy="Make room (`phoundry prune` removes what can be made again), "
            "or set PHOUNDRY_HOME to a larger disk.",
        )


def _inside(folder: Path, path: str) -> None:
    if not (folder / path).resolve().is_relative_to(folder.resolve()) or "\0" in path:
        raise InvalidInput(f"The repository names the file '{path}', outside of its folder.")


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    handle = os.open(folder / _PARTS / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
