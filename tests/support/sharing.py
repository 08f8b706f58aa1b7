"""How a few processes share the suite (`pytest -n 4 --dist loadgroup`).

What is made once for a file, or for a room, shall be made in one process: pytest-xdist would deal
single tests out to all of them. And what takes minutes begins first: it would be dealt out by its
number of tests, which puts a walk of the whole journey, one test, among the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadGroupScheduling

# What takes longest, longest first; every name is a group (`xdist_group`), a file or a room.
LONGEST = (
    "readme",
    "docs",
    "apply",
    "journey",
    "steps",
    "tests/serving/parity/test_real_model.py",
    "tests/e2e/test_no_answer_is_lost.py",
    "notebook",
    "tests/training/test_worker.py",
    "tests/models/test_register.py",
    "tests/journey/test_apply.py",
)
# Rooms whose tests share what takes long to make.
TOGETHER = ("tests/browser", "tests/promptflow")


def share_of(nodeid: str) -> str:
    """The name of what is done in one process, of a test as xdist calls it: its group, the room
    or the file."""
    if nodeid.rfind("@") > nodeid.rfind("]"):
        return nodeid.rpartition("@")[2]
    file = nodeid.partition("::")[0]
    return next((room for room in TOGETHER if file.startswith(f"{room}/")), file)


def place_in_order(item: pytest.Item) -> int:
    """Where the test's share begins: the longest first, then files with slow tests, then others."""
    group = item.get_closest_marker("xdist_group")
    share = group.args[0] if group else share_of(item.nodeid)
    if share in LONGEST:
        return LONGEST.index(share)
    return len(LONGEST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (place_in_order(item), item.path not in slow))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadGroupScheduling | None:
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class Sharing(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return share_of(nodeid)

    config.option.loadscopereorder = False  # they come in the order that they shall begin in
    return Sharing(config, log)
