"""Packages that were installed for flows: an environment a requirements.txt."""

from __future__ import annotations

from collections.abc import Iterator

from phoundry.files import lock_held
from phoundry.flows.environments.build import READY
from phoundry.flows.environments.use import environments, in_use, works
from phoundry.services.prune.leftovers import FRESH, age, item
from phoundry.settings import Home
from phoundry.specs.care import Prunable

KIND = "flow environment"


def useless(home: Home) -> Iterator[Prunable]:
    """Those that nothing can run in: a half of one, or one whose Python is gone."""
    for each in environments(home):
        if not works(each.place) and each.idle > FRESH:
            yield item(KIND, each.name, each.place, "the Python that it was made with is gone")
    for path in sorted(home.environments.glob("*/")):
        held = lock_held(path.with_suffix(".lock"))
        if not (path / READY).exists() and not held and age(path) > FRESH:
            yield item(KIND, path.name, path, "its installation was cut off")


def again(home: Home) -> Iterator[Prunable]:
    """Whole ones that no process runs in: the next run of such a flow installs it again."""
    for each in environments(home):
        if works(each.place) and each.idle > FRESH and not in_use(each.place):
            packages = ", ".join(each.requirements)
            shown = packages if len(packages) <= 40 else f"{packages[:39]}…"
            why = f"{shown}; last used {each.last_used}"
            yield item(KIND, each.name, each.place, why, again=True)
