"""`additional_includes`: files and folders from elsewhere that a flow finds beside its own.

While such a flow runs, its folder is one made for the run: a tree of real folders whose files are
links, the flow's own and over them the included ones. A file of both is the included one, folders
become one, as Prompt flow merges them. What the flow writes beside its files is gone afterwards; a
session's process is killed in the end, so its folder goes when the next one is made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from phoundry.flows.model import Flow

# Where the flows that run now are, by their own folder; the process has one working directory too.
_places: dict[Path, Path] = {}
PREFIX = "phoundry-flow-"
SETTLED = 10.0  # seconds after which a folder that nobody holds is nobody's
SKIPPED = frozenset({"__pycache__", ".git", ".promptflow"})


def place_of(flow: Flow) -> Path:
    """The folder that `flow` runs in: its own, or the one made for its includes."""
    return _places.get(flow.root, flow.root)


def running_file(flow: Flow, file: Path) -> Path:
    """`file`, one that `flow.locate` found, as it is called where the flow runs."""
    place = _places.get(flow.root)
    if place is None:
        return file
    for start, name in ((flow.root, ""), *((source, source.name) for source in sources(flow))):
        if file == start or file.is_relative_to(start):
            found = place / name / file.relative_to(start)
            return found if found.exists() else file
    return file


def sources(flow: Flow) -> list[Path]:
    """The included files and folders; entries that name the flow's own folder are none."""
    found = [Path(os.path.normpath(flow.root / item)) for item in flow.additional_includes if item]
    return [path for path in found if is_there(path) and not flow.root.is_relative_to(path)]


def is_there(path: Path) -> bool:
    """Whether `path` can be included: it exists, or is `NAME.zip` of a folder `NAME`."""
    try:
        return path.exists() or (path.suffix == ".zip" and path.with_suffix("").is_dir())
    except (OSError, ValueError):  # a name that no file can have
        return False


@contextmanager
def merged(flow: Flow) -> Generator[Path]:
    """The folder to run `flow` in for the length of the block: its own if it includes nothing."""
    included = sources(flow)
    if not included:
        yield flow.root
        return
    import shutil  # these two cost every cold start more than the rest of this module
    import tempfile

    _sweep(Path(tempfile.gettempdir()))
    place = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    before, lock = _places.get(flow.root), _locked(place)
    try:
        _link(flow.root, place)
        for source in included:
            if source.exists():
                _link(source, place / source.name)
            else:
                target = str(place / source.stem)
                shutil.make_archive(target, "zip", source.parent, source.stem)
        _places[flow.root] = place
        yield place
    finally:
        if before is None:
            _places.pop(flow.root, None)
        else:
            _places[flow.root] = before
        shutil.rmtree(place, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked(place: Path) -> int | None:
    """A descriptor that holds the folder `place` while this process lives; None: another has it."""
    import fcntl

    found = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(found)
        return None
    return found


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed have left: a session's child always is."""
    import shutil

    for place in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            status = place.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < SETTLED:
                continue  # another user's, or one that is just being made
            if (lock := _locked(place)) is not None:
                shutil.rmtree(place, ignore_errors=True)
                os.close(lock)


def _link(source: Path, target: Path) -> None:
    """A link to the file `source` at `target`, in place of anything else; of a folder, to each
    file in it. A folder that is a link itself stays one, so that circles of links end."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, source)
        return
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if name not in SKIPPED]
        here = target / Path(folder).relative_to(source)
        before = here.resolve() if here.is_symlink() else None
        if before is not None:
            here.unlink()
        here.mkdir(parents=True, exist_ok=True)
        if before is not None and before.is_dir():  # a linked folder becomes one with this one
            for item in before.iterdir():
                _replace(here / item.name, item)
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118
        for name in (*files, *links):
            _replace(here / name, Path(folder) / name)


def _replace(target: Path, source: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        import shutil

        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    target.symlink_to(source)
