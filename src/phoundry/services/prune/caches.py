"""What can be made again, where nothing waits for it or serves it now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from phoundry.files import lock_held, read_json
from phoundry.hub.download import LOCK
from phoundry.services import bases
from phoundry.services.prune.leftovers import FRESH, age, item
from phoundry.services.prune.uses import Uses
from phoundry.settings import Home
from phoundry.specs.care import Prunable

OWN = ("folder", "gguf")  # sources that are the user's own: they may have changed since


def all_of(home: Home, uses: Uses) -> list[Prunable]:
    return [
        *base_models(home, uses),
        *ggufs(home, uses),
        *tokens(home, uses),
        *downloads(home, uses),
    ]


def base_models(home: Home, uses: Uses) -> Iterator[Prunable]:
    for path in _inside(home.checkpoints):
        facts: dict[str, Any] = read_json(path / "source.json") or {}
        kind, _, location = str(facts.get("source", "")).partition(":")
        names = {str(facts.get("model")), location}
        # A copy of the user's own folder is the only witness of what was trained on.
        keepers = uses.mentioned if kind in OWN else uses.models
        if not (uses.has(path) or uses.fetching or names & keepers) and age(path) > FRESH:
            why = "nothing that runs or waits uses it"
            yield item("base model", path.name, path, why, again=True)


def ggufs(home: Home, uses: Uses) -> Iterator[Prunable]:
    served = {path.name for folder in uses.bases for path in bases.ggufs(home, folder).values()}
    for path in _inside(home.cache / "gguf"):
        if path.name not in served and not uses.has(path) and not uses.fetching:
            yield item("GGUF", path.name, path, "no deployment serves it", again=True)


def tokens(home: Home, uses: Uses) -> Iterator[Prunable]:
    for path in _inside(home.cache / "tokens"):
        if not uses.training and age(path) > FRESH:
            yield item("tokens", path.name[:20], path, "no job is under way", again=True)


def downloads(home: Home, uses: Uses) -> Iterator[Prunable]:
    """All that stands in the cache beside those, such as packages, models and facts of the hub."""
    for folder in _inside(home.cache):
        if folder.name in ("gguf", "tokens", "uploads"):
            continue
        for path in _downloaded(folder):
            if not (uses.has(path) or uses.fetching or _held(path)) and age(path) > FRESH:
                yield item("download", path.name[:40], path, "fetched again on demand", again=True)


def _downloaded(folder: Path) -> list[Path]:
    """What of a folder of the cache goes or stays by itself: data sets stand one level deeper."""
    if not folder.is_dir():
        return [folder]
    if folder.name == "datasets":
        return [path for kind in _inside(folder) for path in _downloaded(kind)]
    return _inside(folder)


def _held(path: Path) -> bool:
    """Whether a process downloads into it: a command does so without the control plane's word."""
    return path.is_dir() and any(lock_held(lock) for lock in path.rglob(LOCK))


def _inside(folder: Path) -> list[Path]:
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if not path.name.startswith(".")]
