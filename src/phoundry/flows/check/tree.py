"""A tree of folders: every flow in it, and what each needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from phoundry.errors import NotFound
from phoundry.flows.check.checker import check_flow
from phoundry.flows.check.finding import Finding, Report
from phoundry.flows.check.needs import Known
from phoundry.flows.document import FILE_NAMES, FLEX_NAMES, PROMPTY

SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages", "venv"})


def check_tree(
    places: Iterable[Path], known: Callable[[Path], Known] | None = None
) -> Iterator[Report]:
    """A report a flow below `places`, in the order of their paths.

    `known` gives the connections for the flow in a file.

    Raises:
        NotFound: a place is not there.
    """
    for file in find_flows(places):
        try:
            yield check_flow(file, known(file) if known else None)
        except (NotFound, OSError) as error:  # a link to nothing, a pipe, another user's
            told = error.message if isinstance(error, NotFound) else str(error)
            yield Report(file, "unknown", (Finding("error", "NotFound", told, file.name),))


def find_flows(places: Iterable[Path]) -> list[Path]:
    """The files of flows below `places`, each once; hidden folders, environments and links to
    folders are passed over.

    Raises:
        NotFound: a place is not there.
    """
    found: dict[Path, None] = {}
    for place in places:
        if not place.exists():
            raise NotFound(f"There is no {place}.", remedy="Give folders that hold flows.")
        if place.is_file():
            found[place] = None
        for folder, below, names in os.walk(place):
            below[:] = sorted(name for name in below if name not in SKIPPED and name[0] != ".")
            for name in sorted(names):
                if name in (*FILE_NAMES, *FLEX_NAMES) or name.endswith(PROMPTY):
                    found[Path(folder) / name] = None
    return list(found)
