"""Each migration, upwards and downwards, with rows of before in the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from phoundry.store.database import Database, migration_config
from phoundry.store.tables import DataAssetRow, DeploymentRow, ReplicaRow

SPLIT = {"rows": 8, "bytes": 100, "sha256": "a" * 64}
HELD_OUT = {"rows": 2, "bytes": 30, "sha256": "b" * 64}
OLD = (
    "insert into data_assets (workspace, name, version, filename, sha256, train, test, test_size,"
    " seed, description, tags, created_at) values ('default', 'faq', :version, 'faq.jsonl', :sha,"
    " :train, :test, 0.2, 42, 'd', '{\"a\": \"b\"}', '2026-11-22 12:00:00')"
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    yield made
    made.dispose()


def move(engine: Engine, to: str, *, down: bool = False) -> None:
    config = migration_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, to)


def fill(engine: Engine) -> None:
    with engine.begin() as connection:
        for version, held_out in ((1, HELD_OUT), (2, None)):
            values = {"version": version, "sha": str(version) * 64, "train": json.dumps(SPLIT)}
            connection.execute(text(OLD), values | {"test": json.dumps(held_out)})


def rows(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(text("select * from data_assets order by version")).mappings()
        return [dict(row) for row in found]


def test_0002_knows_what_is_true_of_the_assets_of_before(engine: Engine, tmp_path: Path) -> None:
    move(engine, "0001")
    fill(engine)
    database = Database(tmp_path / "a.db")  # as the next start does
    with database.begin() as session:
        first, second = session.query(DataAssetRow).order_by(DataAssetRow.version).all()
    database.close()
    assert (first.type, first.format, first.container) == ("chat", "messages", "jsonl")
    assert (first.source, first.notices, first.skipped_rows) == ("", [], [])
    assert first.mapping == {"messages": "messages"}
    assert (first.rows_read, second.rows_read) == (10, 8)
    assert (first.skipped, first.duplicates) == (0, 0)
    assert (first.train, first.test, second.test) == (SPLIT, HELD_OUT, None)
    assert (first.tags, first.description) == ({"a": "b"}, "d")


def test_0002_keeps_a_version_unique_and_leaves_no_default(engine: Engine) -> None:
    move(engine, "0001")
    fill(engine)
    move(engine, "0002")
    columns = {column["name"]: column for column in inspect(engine).get_columns("data_assets")}
    assert all(column["default"] is None for column in columns.values())
    assert not columns["rows_read"]["nullable"]
    (unique,) = inspect(engine).get_unique_constraints("data_assets")
    assert unique["name"] == "uq_data_assets_workspace"
    with pytest.raises(IntegrityError):
        fill(engine)


def test_down_to_0001_the_rows_are_as_they_were(engine: Engine) -> None:
    move(engine, "0001")
    fill(engine)
    before, columns = rows(engine), inspect(engine).get_columns("data_assets")
    move(engine, "0002")
    move(engine, "0001", down=True)
    assert rows(engine) == before
    after = inspect(engine).get_columns("data_assets")
    assert [(c["name"], str(c["type"])) for c in after] == [
        (c["name"], str(c["type"])) for c in columns
    ]
    move(engine, "0002")
    assert [row["rows_read"] for row in rows(engine)] == [10, 8]


DEPLOYMENT = (
    "insert into deployments (workspace, endpoint, name, state, replica, spec, run_dir, token,"
    " restarts, failures, notices, created_at) values ('default', 'faq', :name, 'Succeeded',"
    " :replica, '{}', :folder, :token, 3, 1, '[]', '2026-11-22 12:00:00')"
)


def deploy(engine: Engine, name: str, replica: str) -> None:
    values = {"name": name, "replica": replica, "folder": f"/runs/{name}", "token": f"v1:{name}"}
    with engine.begin() as connection:
        connection.execute(text(DEPLOYMENT), values)


def deployed(engine: Engine) -> list[tuple[Any, ...]]:
    columns = "name, state, replica, run_dir, token, restarts, failures, retry_at"
    with engine.connect() as connection:
        found = connection.execute(text(f"select {columns} from deployments order by name"))
        return [tuple(row) for row in found]


def test_0003_a_deployment_keeps_its_running_replica(engine: Engine, tmp_path: Path) -> None:
    move(engine, "0002")
    deploy(engine, "blue", "ready")
    deploy(engine, "green", "crashed")
    database = Database(tmp_path / "a.db")  # as the next start does
    with database.begin() as session:
        rows = session.query(ReplicaRow).order_by(ReplicaRow.deployment).all()
        blue = session.query(DeploymentRow).filter_by(name="blue").one()
    database.close()
    assert [(one.endpoint, one.deployment, one.number, one.state) for one in rows] == [
        ("faq", "blue", 0, "ready"),
        ("faq", "green", 0, "crashed"),
    ]
    assert (rows[0].run_dir, rows[0].token) == ("/runs/blue", "v1:blue")
    assert (rows[0].revision, rows[0].restarts, rows[0].failures) == (1, 3, 1)
    assert (blue.revision, blue.live, blue.wanted, blue.gate) == (1, 1, 1, "skipped")
    assert blue.former is None


def test_0003_down_the_first_replica_is_the_deployments(engine: Engine) -> None:
    move(engine, "0002")
    for name, replica in (("asleep", "ready"), ("blue", "ready"), ("green", "crashed")):
        deploy(engine, name, replica)
    before, columns = deployed(engine), inspect(engine).get_columns("deployments")
    move(engine, "0003")
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into replicas (workspace, created_at, endpoint, deployment, number,"
                " revision, state, run_dir, token, restarts, failures) values ('default',"
                " '2026-11-22', 'faq', 'blue', 1, 1, 'ready', '/runs/blue.1', 'v1:b', 0, 0)"
            )
        )
        connection.execute(text("delete from replicas where deployment = 'asleep'"))
    move(engine, "0002", down=True)
    after = deployed(engine)
    assert after[1:] == before[1:]
    assert after[0][:3] == ("asleep", "Failed", "failed")
    kinds = {each["name"]: (str(each["type"]), each["nullable"]) for each in columns}
    found = inspect(engine).get_columns("deployments")
    assert {each["name"]: (str(each["type"]), each["nullable"]) for each in found} == kinds
    assert all(each["default"] is None for each in found)
