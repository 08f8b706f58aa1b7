"""Runs by name."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from phoundry.errors import Conflict, NotFound, UsageError
from phoundry.flows.batch.folder import Record
from phoundry.flows.batch.store import RunStore, new_name
from phoundry.services.prune import leftovers
from phoundry.services.prune.uses import Uses
from phoundry.settings import Home


def test_runs_are_found_by_name_the_newest_first(store: RunStore) -> None:
    for number, name in enumerate(("b", "a", "c")):
        store.make(name).write(Record(name, "f", created=f"2026-01-0{number + 1}"))
    (store.root / "job-1").mkdir()  # a worker's
    assert [record.name for record in store] == ["c", "a", "b"]
    assert store.read("a")[1].created == "2026-01-02"
    with pytest.raises(NotFound, match="'job-1'"):
        store.folder("job-1")
    with pytest.raises(Conflict, match="There is a run 'a' already"):
        store.make("a")
    store.delete("a")
    assert [record.name for record in store] == ["c", "b"]


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "-n", "a" * 201, "job-x", "ä", "a\n"])
def test_names_that_are_none(store: RunStore, name: str) -> None:
    with pytest.raises(UsageError):
        store.make(name)
    with pytest.raises(NotFound):
        store.folder(name)


def test_a_made_name_is_one(store: RunStore) -> None:
    name = new_name("my flow/ä", "${node.variant_2}")
    assert name.startswith("my_flow__variant_2_20")
    assert store.make(name).path.stat().st_mode & 0o777 == 0o700
    assert store.make(new_name("task-router", None)).path.name.startswith("flow_task-router_")


def test_a_name_is_free_again_where_a_kill_left_no_record(store: RunStore) -> None:
    left, long_ago = store.make("a").path, time.time() - 60
    (left / "lock").touch()
    (left / "snapshot").mkdir()
    with pytest.raises(Conflict):  # somebody may be at it just now
        store.make("a")
    os.utime(left, (long_ago, long_ago))
    with store.make("b").held(), pytest.raises(Conflict):
        store.make("b")
    store.make("a").write(Record("a", "f"))
    with pytest.raises(Conflict):
        store.make("a")
    foreign = store.root / "notes"
    foreign.mkdir()
    (foreign / "my.txt").touch()
    os.utime(foreign, (long_ago, long_ago))
    with pytest.raises(Conflict):
        store.make("notes")
    assert (foreign / "my.txt").exists()


@pytest.mark.parametrize("text", ['{"name": "a"', "[]", '{"name": "a", "flow": "f", "lines": 3}'])
def test_a_record_that_cannot_be_read_hides_no_other_run(store: RunStore, text: str) -> None:
    store.make("a").write(Record("a", "f"))
    store.make("b").write(Record("b", "f"))
    (store.root / "a" / "run.json").write_text(text)
    assert [record.name for record in store] == ["b"]
    with pytest.raises(Conflict, match="can't be read"):
        store.read("a")
    store.delete("a")
    with pytest.raises(NotFound):
        store.read("a")


def test_pruning_leaves_runs_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    store = RunStore(home.runs)
    store.make("kept").write(Record("kept", "f"))
    (home.runs / "replica-old").mkdir()
    long_ago = time.time() - 7 * 24 * 3600
    for folder in home.runs.iterdir():
        os.utime(folder, (long_ago, long_ago))
    texts, paths = frozenset[str](), frozenset[Path]()
    uses = Uses(texts, paths, texts, texts, texts, paths, training=False, fetching=False)
    assert [item.name for item in leftovers.runs(home, uses)] == ["replica-old"]
