"""What is found, what goes and what stays."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from phoundry.errors import Forbidden
from phoundry.hub.download import LOCK
from phoundry.services import data, endpoints, jobs, models, prune
from phoundry.services.context import NOBODY, Context, now, open_context, record
from phoundry.services.prune import histories, leftovers
from phoundry.services.prune.registry import deleted
from phoundry.settings import Home
from phoundry.specs.care import Pruning
from phoundry.specs.endpoint import EndpointSpec
from phoundry.store.tables import EventRow
from tests.services.fake_workers import FakeWorkers
from tests.services.prune.conftest import put
from tests.services.test_reconcile import (
    advance,
    deploy,
    registered,
    state,
    tick,
    train,
    trained,
    training,
)
from tests.support.assets import make_asset

Age = Callable[[], None]


@pytest.fixture
def faq(context: Context, chats: bytes) -> str:
    return make_asset(context, chats).name


@pytest.fixture
def endpoint(context: Context) -> str:
    return endpoints.create(context, EndpointSpec(name="faq-bot")).name


def kinds(found: Pruning) -> list[str]:
    return sorted({item.kind for item in found.items})


def files(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in root.rglob("*") if path.is_file()}


def test_an_empty_home_has_nothing_to_remove(context: Context, age: Age) -> None:
    age()
    assert prune.plan(context, everything=True).items == []
    assert prune.prune(context, everything=True).bytes == 0


def test_looking_removes_nothing(context: Context, faq: str, fleet: FakeWorkers, age: Age) -> None:
    put(context.home.run("job", trained(context, fleet)) / "checkpoints" / "step-4" / "x")
    age()
    before = files(context.home.root)
    found = prune.plan(context, everything=True)
    assert kinds(found) == ["base model", "checkpoints"]
    assert files(context.home.root) == before
    assert not found.removed


def test_blobs_that_no_asset_has(context: Context, faq: str, age: Age) -> None:
    digest = context.blobs.put(b"nobody's")
    assert prune.plan(context).items == []  # it may be on its way to an asset
    age()
    done = prune.prune(context)
    assert [item.name for item in done.items] == [digest[:12]]
    assert done.bytes == len(b"nobody's")
    asset = data.show(context, faq)
    for split in ("train", "test"):
        assert data.split_path(context, asset, split)
    assert prune.plan(context).items == []


def test_data_of_a_job_that_may_go_on_stays(
    context: Context, faq: str, fleet: FakeWorkers, age: Age
) -> None:
    folder = training(context, fleet)
    put(folder / "checkpoints" / "step-4" / "model.safetensors")
    told = fleet.running[folder].spec
    (folder / "spec.json").write_text(json.dumps(told))
    fleet.end(folder, "failed")
    advance(context, fleet, 1)
    assert jobs.show(context, "one").status == "Failed"
    with sqlite3.connect(context.home.database) as connection:
        connection.execute("delete from data_assets")
    age()
    done = prune.prune(context, everything=True)
    assert "checkpoints" not in kinds(done)
    assert "blob" not in kinds(done)
    assert Path(told["train_path"]).exists()
    assert (folder / "checkpoints" / "step-4" / "model.safetensors").exists()


def test_only_a_completed_job_loses_its_checkpoints(
    context: Context, faq: str, fleet: FakeWorkers, age: Age
) -> None:
    folder = context.home.run("job", trained(context, fleet))
    put(folder / "checkpoints" / "step-4" / "model.safetensors", b"w" * 5000)
    age()
    done = prune.prune(context)
    assert [(item.kind, item.name, item.bytes) for item in done.items] == [
        ("checkpoints", "one", 5000)
    ]
    assert not (folder / "checkpoints").exists()
    assert (folder / "output" / "adapter").exists()


def test_what_is_served_stays_and_what_is_not_is_made_again(
    context: Context, faq: str, endpoint: str, fleet: FakeWorkers, age: Age
) -> None:
    deploy(context)
    advance(context, fleet)
    age()
    assert prune.plan(context, everything=True).items == []
    fleet.kill(context.home.run("replica", endpoint, "blue"))  # killed, not deleted: it comes back
    age()
    assert prune.plan(context, everything=True).items == []
    endpoints.delete(context, endpoint)
    advance(context, fleet)
    age()
    done = prune.prune(context, everything=True)
    assert kinds(done) == ["GGUF", "base model"]
    assert all(item.again for item in done.items)
    endpoints.create(context, EndpointSpec(name=endpoint))
    deploy(context)
    advance(context, fleet)
    assert state(context) == ("Succeeded", "ready")


def test_a_registered_model_stays(
    context: Context, faq: str, endpoint: str, fleet: FakeWorkers, age: Age
) -> None:
    model = registered(context, fleet)
    age()
    done = prune.prune(context, everything=True)
    assert kinds(done) == ["base model"]
    assert models.show(context, "bot").status == "Ready"
    deploy(context, model=f"bot:{model.version}")
    advance(context, fleet)
    assert state(context) == ("Succeeded", "ready")


def test_while_something_is_fetched_no_cache_is_touched(
    context: Context, endpoint: str, fleet: FakeWorkers, age: Age
) -> None:
    part = put(context.home.cache / "hub" / "owner--name" / "part")
    put(context.home.cache / "gguf" / "old.gguf")
    deploy(context)
    tick(context)  # its base model is being fetched now
    age()
    assert prune.plan(context, everything=True).items == []
    assert part.exists()


def test_caches_go_only_when_asked_for(context: Context, age: Age) -> None:
    put(context.home.cache / "packages" / "a.whl")
    put(context.home.cache / "tokens" / "ab" / "ids.bin")
    put(context.home.cache / "datasets" / "rows" / "a.jsonl")
    age()
    assert prune.plan(context).items == []
    assert kinds(prune.prune(context, everything=True)) == ["download", "tokens"]


def test_every_cache_is_known_and_goes_thing_by_thing(context: Context, age: Age) -> None:
    cache = context.home.cache
    things = {
        put(cache / "hub" / "owner--model" / "0123" / "config.json").parent.parent,
        put(cache / "hub-facts" / "owner--model" / "facts.json").parent,
        put(cache / "datasets" / "hub" / "owner--data" / "a.parquet").parent,
        put(cache / "datasets" / "hub" / "owner--other" / "a.parquet").parent,
        put(cache / "datasets" / "rows" / "abc.jsonl"),
        put(cache / "tokens" / "abc" / "ids.bin").parent,
        put(cache / "packages" / "a.gguf"),
        put(cache / "benchmarks" / "run.json"),
    }
    age()
    found = prune.plan(context, everything=True).items
    assert {Path(each.path or "") for each in found} == things
    assert all(each.again for each in found)


def test_what_a_command_downloads_stays(context: Context, age: Age) -> None:
    """It works without a task, and a slow line may bring nothing for an hour."""
    cache = context.home.cache / "datasets" / "hub"
    busy, idle = (put(cache / name / "a.parquet").parent for name in ("o--busy", "o--idle"))
    for folder in (busy, idle):
        put(folder / ".parts" / LOCK, b"")
    age()
    with (busy / ".parts" / LOCK).open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        prune.prune(context, everything=True)
        assert (busy.exists(), idle.exists()) == (True, False)
    prune.prune(context, everything=True)
    assert not busy.exists()


def test_the_tokens_of_a_running_job_stay(
    context: Context, faq: str, fleet: FakeWorkers, age: Age
) -> None:
    tokens = put(context.home.cache / "tokens" / "abc" / "ids.bin")
    put(context.home.cache / "packages" / "a.gguf")
    train(context)
    age()
    prune.prune(context, everything=True)
    assert tokens.exists()


def test_what_killed_processes_left(context: Context, age: Age) -> None:
    home = context.home
    left = put(home.checkpoints / f".base.{2**22 - 7}.abc" / "weights").parent
    working = put(home.checkpoints / f".base.{os.getpid()}.abc" / "weights").parent
    upload = put(home.cache / "uploads" / "incoming-1")
    orphan = put(home.runs / "replica-gone.blue" / "log.txt").parent
    aside = put(home.root / "trash-1" / "x").parent
    age()
    assert kinds(prune.prune(context)) == ["run folder", "trash", "unfinished", "upload"]
    assert [path.exists() for path in (left, upload, orphan, aside)] == [False] * 4
    assert working.exists()


def test_a_home_reached_by_another_path(
    context: Context, faq: str, endpoint: str, fleet: FakeWorkers, age: Age, tmp_path: Path
) -> None:
    deploy(context)
    advance(context, fleet)
    age()
    alias = tmp_path / "alias"
    alias.symlink_to(context.home.root, target_is_directory=True)
    other = open_context(Home(alias))
    found = prune.plan(other)
    other.database.close()
    assert found.items == []


def test_a_long_log_keeps_its_newest_lines(
    context: Context, age: Age, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "LOG_BYTES", 1000)
    monkeypatch.setattr(leftovers, "KEPT_BYTES", 100)
    log = put(context.home.logs / "server.log", b"".join(b"line %d\n" % n for n in range(500)))
    with log.open("ab") as writer:
        done = prune.prune(context)
        writer.write(b"written after\n")
        writer.flush()
    assert kinds(done) == ["log"]
    lines = log.read_text().splitlines()
    assert lines[-2:] == ["line 499", "written after"]
    assert lines[0].startswith("line ")
    assert len(lines) < 20


def test_old_events_beyond_the_newest(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "KEPT", 5)
    then = now() - timedelta(days=91)
    with context.database.begin() as session:
        for resource, count in (("job/many", 20), ("job/few", 4)):
            for number in range(count):
                record(session, context, resource, str(number), "")
        session.query(EventRow).update({"created_at": then})
        for number in range(3):
            record(session, context, "job/many", f"new-{number}", "")
    assert [item.name for item in prune.plan(context).items] == ["18 events"]
    assert histories.tick(context) == 18
    assert histories.tick(context) == 0
    with context.database.begin() as session:
        left = [row.kind for row in session.query(EventRow).filter_by(resource="job/many")]
        few = session.query(EventRow).filter_by(resource="job/few").count()
    assert left == ["18", "19", "new-0", "new-1", "new-2"]
    assert few == 4


def test_deleted_runs_of_mlflow_are_counted_but_not_those_of_a_version(context: Context) -> None:
    context.home.mlflow.mkdir()
    with sqlite3.connect(context.home.mlflow / "mlflow.db") as connection:
        connection.executescript(
            "create table runs (run_uuid, name, artifact_uri, lifecycle_stage);"
            "create table model_versions (run_id);"
            "insert into runs values ('a', 'A', null, 'deleted'), ('b', 'B', null, 'deleted'),"
            " ('c', 'C', null, 'active'); insert into model_versions values ('b'), (null);"
        )
    assert [item.name for item in deleted(context.home)] == ["a"]


def test_nobody_may(context: Context) -> None:
    with pytest.raises(Forbidden):
        prune.plan(context.acting(NOBODY))
    with pytest.raises(Forbidden):
        prune.prune(context.acting(NOBODY))


def test_what_cannot_be_moved_stays_and_is_told(
    context: Context, age: Age, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = context.blobs.path(context.blobs.put(b"nobody's"))
    age()

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    done = prune.prune(context)
    assert done.items == []
    assert done.notices == [f"{blob} could not be removed: Permission denied."]
    assert blob.exists()
