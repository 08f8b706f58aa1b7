"""Deployment defaults from the verb to the replica's folder."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import InvalidInput
from phoundry.files import read_json, write_json
from phoundry.services import defaults, deployments, endpoints, replicas
from phoundry.services.context import Context
from phoundry.specs.deployment import DeploymentSpec, DeploymentUpdate, GenerationDefaults
from phoundry.specs.endpoint import EndpointSpec
from phoundry.store.tables import DeploymentRow, ReplicaRow
from tests.services.fake_workers import MODEL, FakeWorkers
from tests.support.tiny_tokenizer import make_tiny_tokenizer


@pytest.fixture
def faq(context: Context) -> str:
    return endpoints.create(context, EndpointSpec(name="faq")).name


def deploy(context: Context, **given: Any) -> Any:
    spec = {"name": "blue", "endpoint_name": "faq", "model": MODEL, **given}
    return deployments.create(context, DeploymentSpec.model_validate(spec))


def change(context: Context, **given: Any) -> GenerationDefaults:
    update = DeploymentUpdate.model_validate({"defaults": given})
    return deployments.update(context, "faq", "blue", update).defaults


def replica(context: Context, tmp_path: Path) -> Path:
    """The folder of a replica of `blue` that serves a tiny model with 64 tokens of context."""
    tokenizer = make_tiny_tokenizer(tmp_path, style="chatml").folder
    with context.database.begin() as session:
        row = session.query(DeploymentRow).one()
        folder = Path(replicas.add(session, context, row, row.revision).run_dir)
    folder.mkdir(parents=True)
    spec = {"tokenizer_dir": str(tokenizer), "context_length": 64, "token": "secret"}
    write_json(folder / "spec.json", spec, mode=0o600)
    return folder / "spec.json"


def test_they_are_kept_and_shown(context: Context, faq: str, fleet: FakeWorkers) -> None:
    made = deploy(context, defaults={"temperature": 0.3, "stop": ["#"]})
    assert made.defaults == GenerationDefaults(temperature=0.3, stop=["#"])
    assert deployments.show(context, "faq", "blue").defaults == made.defaults


def test_an_answer_larger_than_the_context_is_refused_at_once(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    with pytest.raises(InvalidInput, match=r"max_tokens is 5,000; the context .* 4,096"):
        deploy(context, defaults={"max_tokens": 5000})
    with pytest.raises(InvalidInput, match="512 tokens"):
        deploy(context, context_length=512, defaults={"max_tokens": 513})
    assert deployments.listing(context, "faq") == []
    assert deploy(context, context_length=512, defaults={"max_tokens": 512})


def test_only_what_is_given_changes(context: Context, faq: str, fleet: FakeWorkers) -> None:
    deploy(context, defaults={"temperature": 0.3, "max_tokens": 9, "stop": ["#"]})
    assert change(context, temperature=0.9).model_dump(exclude_none=True) == {
        "temperature": 0.9,
        "max_tokens": 9,
        "stop": ["#"],
    }
    assert change(context, temperature=None, stop=[]) == GenerationDefaults(max_tokens=9)
    kinds = [event.kind for event in deployments.show(context, "faq", "blue").events]
    assert kinds == ["created", "updated", "updated"]


def test_a_change_reaches_the_replicas_folder(
    context: Context, faq: str, fleet: FakeWorkers, tmp_path: Path
) -> None:
    deploy(context)
    spec = replica(context, tmp_path)
    change(context, max_tokens=64)
    assert read_json(spec)["defaults"]["max_tokens"] == 64
    assert read_json(spec)["token"] == "secret"
    assert fleet.starts == []


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 65}, {"system_prompt": "word " * 100}], ids=["answer", "prompt"]
)
def test_what_the_model_cannot_answer_under_changes_nothing(
    context: Context, faq: str, fleet: FakeWorkers, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    deploy(context, defaults={"temperature": 0.3})
    spec = replica(context, tmp_path)
    before = spec.read_bytes()
    with pytest.raises(InvalidInput, match="64 tokens"):
        change(context, **wrong)
    assert deployments.show(context, "faq", "blue").defaults == GenerationDefaults(temperature=0.3)
    assert spec.read_bytes() == before


def test_a_row_older_than_defaults_has_none(context: Context, faq: str, fleet: FakeWorkers) -> None:
    deploy(context)
    with context.database.begin() as session:
        row = session.query(DeploymentRow).one()
        row.spec = {key: value for key, value in row.spec.items() if key != "defaults"}
    assert deployments.show(context, "faq", "blue").defaults == GenerationDefaults()
    with context.database.begin() as session:
        assert defaults.of(session.query(DeploymentRow).one().spec)["stop"] == []
    assert change(context, temperature=1).temperature == 1


def test_a_replica_is_told_once_the_row_is_kept(
    context: Context, faq: str, monkeypatch: pytest.MonkeyPatch, fleet: FakeWorkers
) -> None:
    """Whoever looks the moment that a replica is told finds the same in the store."""
    deploy(context)
    with context.database.begin() as session:
        replicas.add(session, context, session.query(DeploymentRow).one(), 1)
    kept: list[Any] = []

    def deliver(row: DeploymentRow, replica: ReplicaRow) -> bool:
        with sqlite3.connect(context.home.database) as store:
            (spec,) = store.execute("select spec from deployments").fetchone()
        kept.append(json.loads(spec)["defaults"]["temperature"])
        return True

    monkeypatch.setattr(defaults, "deliver", deliver)
    change(context, temperature=0.25)
    assert kept == [0.25]
