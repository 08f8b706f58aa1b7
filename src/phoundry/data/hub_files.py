"""The files of a data set: of a repository of the hub, of what is cached of one, or of a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from phoundry.errors import Forbidden, InvalidInput, NotFound, Unavailable
from phoundry.files import read_json, write_json
from phoundry.hub import cache, trouble
from phoundry.hub.download import download, spoken
from phoundry.hub.kinds import DATASET
from phoundry.hub.listing import HubFile, Listing, list_files
from phoundry.hub.place import offline

Say = Callable[[str], None]
_LISTING = ".listing.json"
# What `datasets` reads to learn what the other files are.
CARDS = ("README.md", ".huggingface.yaml", "dataset_infos.json")


@dataclass(frozen=True, slots=True)
class Repository:
    """A data set's files. `listing` is None for a folder, of which all are in `folder`."""

    name: str
    folder: Path
    names: tuple[str, ...]
    listing: Listing | None = None

    @property
    def commit(self) -> str | None:
        return self.listing.commit if self.listing else None

    def fetch(self, names: Sequence[str], say: Say) -> list[Path]:
        """The files `names`, all of which `names` of the repository lists."""
        if self.listing is not None:
            wanted = [file for file in self.listing.files if file.path in names]
            here = all((self.folder / file.path).is_file() for file in wanted)
            if offline() and not here:
                raise trouble.offline(self.name, DATASET)
            if not here:
                say(f"Downloading {trouble.size(sum(file.size for file in wanted))}.")
            download(self.listing, wanted, self.folder, say=say, report=spoken(say))
        return [self.folder / name for name in names]


def open_repository(source: str, cache_dir: Path, say: Say) -> Repository:
    """The data set that `source` names, with its cards on this machine.

    A hub that cannot be reached is no fault if what was fetched before is enough.

    Raises:
        NotFound, Forbidden, Unavailable: see `phoundry.hub.trouble`.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _local(source, folder)
    place = cache_dir / "hub" / source.replace("/", "--")
    try:
        listing = list_files(source, DATASET)
        write_json(place / _LISTING, _written(listing))
    except (NotFound, Forbidden):
        raise
    except Unavailable as error:
        why = "HF_HUB_OFFLINE is set." if offline() else error.message
        kept = _kept(place, source)
        if kept is None and (snapshot := cache.snapshot(source, DATASET)):
            say(f"{why} The copy in the cache of Hugging Face is used.")
            return _local(source, snapshot)
        if kept is None:
            raise
        listing, when = kept
        say(f"{why} What was fetched on {when:%Y-%m-%d} is used.")
    names = tuple(file.path for file in listing.files)
    repository = Repository(source, place / listing.commit[:16], names, listing)
    repository.fetch([name for name in CARDS if name in names], lambda _: None)
    return repository


def _local(name: str, folder: Path) -> Repository:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = [str(path) for path in found if not any(part.startswith(".") for part in path.parts)]
    if not names:
        raise InvalidInput(f"The folder {folder} holds no files.")
    return Repository(name, folder, tuple(sorted(names)))


def _written(listing: Listing) -> dict[str, Any]:
    files = [[file.path, file.size, file.sha256, file.blob_id] for file in listing.files]
    return {"commit": listing.commit, "files": files}


def _kept(place: Path, hub_id: str) -> tuple[Listing, datetime] | None:
    """The listing of the last time, and when that was."""
    path = place / _LISTING
    try:
        value: Any = read_json(path)
    except ValueError:
        return None
    if value is None:
        return None
    rows = cast("list[tuple[str, int, str | None, str | None]]", value["files"])
    files = tuple(HubFile(*row) for row in rows)
    when = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    return Listing(hub_id, DATASET, str(value["commit"]), files), when
