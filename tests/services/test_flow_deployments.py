"""Flows behind endpoints, as the services keep and start them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from phoundry.errors import NotFound, UsageError
from phoundry.services import connections, deployments, endpoints, routing
from phoundry.services.context import Context
from phoundry.services.prune.uses import Uses
from phoundry.services.reconcile import deployments as reconcile
from phoundry.serving.flow.packing import unpack
from phoundry.serving.gateway.routes import load_routes
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.deployment import Deployment, DeploymentSpec, DeploymentUpdate
from phoundry.specs.endpoint import EndpointSpec
from tests.services.fake_workers import MODEL, FakeWorkers

CANARY = "canary-secret-4711"
YAML = """\
inputs:
  question: {type: string}
outputs:
  answer: {type: string, reference: "${say.output}"}
nodes:
- name: say
  type: python
  source: {type: code, path: say.py}
  inputs: {question: "${inputs.question}", connection: CONNECTION}
"""
TOOL = """\
from promptflow import tool
from promptflow.connections import CustomConnection


@tool
def say(question: str, connection: CustomConnection):
    return connection.key
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my-flow"
    made.mkdir()
    (made / "flow.dag.yaml").write_text(YAML.replace("CONNECTION", "faq-model"))
    (made / "say.py").write_text(TOOL)
    return made


@pytest.fixture
def ready(context: Context, fleet: FakeWorkers) -> Context:
    endpoints.create(context, EndpointSpec(name="chat"))
    connections.create(context, connection(CANARY))
    return context


def connection(key: str) -> ConnectionSpec:
    return ConnectionSpec(name="faq-model", secrets={"key": SecretStr(key)})


def deploy(context: Context, folder: Path, **more: Any) -> Deployment:
    values = {"name": "blue", "endpoint_name": "chat", "flow": str(folder), **more}
    return deployments.create(context, DeploymentSpec.model_validate(values))


def advance(context: Context, fleet: FakeWorkers, rounds: int = 5) -> Deployment:
    for _ in range(rounds):
        reconcile.tick(context)
        routing.publish(context, wait=False)
        fleet.stop()
        for at, start in list(fleet.running.items()):
            if start.module.endswith("flow.replica") and not (at / "ready.json").exists():
                (at / "ready.json").write_text(json.dumps({"port": 4000 + len(fleet.starts)}))
    return deployments.show(context, "chat", "blue")


def test_it_serves_what_the_folder_held_then(
    ready: Context, fleet: FakeWorkers, folder: Path, tmp_path: Path
) -> None:
    made = deploy(ready, folder)
    (folder / "say.py").write_text("changed since")
    found = advance(ready, fleet)
    assert found.provisioning_state == "Succeeded"
    assert (found.gate, found.engine, found.traffic) == ("skipped", "flow", 100)
    assert found.model == made.model
    assert found.model.startswith("flow:my-flow@")
    assert "gate_skipped" in [each.kind for each in found.events]
    (start,) = fleet.starts
    assert start.module == "phoundry.serving.flow.replica"
    unpack(Path(start.spec["packed"]), tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "say.py").read_text() == TOOL
    assert start.spec["chosen"] == {"say.connection": "faq-model"}


FLEX = """\
class Chat:
    def __init__(self, tone: str):
        self.tone = tone

    def __call__(self, question: str):
        return self.tone + question
"""


def test_arguments_of_a_class_are_kept_and_changed(
    ready: Context, fleet: FakeWorkers, folder: Path, tmp_path: Path
) -> None:
    flex = tmp_path / "flex"
    flex.mkdir()
    (flex / "flow.flex.yaml").write_text("entry: chat:Chat\n")
    (flex / "chat.py").write_text(FLEX)
    deploy(ready, flex, init={"tone": "kind"})
    found = advance(ready, fleet)
    assert (found.revision, found.init) == (1, {"tone": "kind"})
    change = DeploymentUpdate(flow=str(flex), init={"tone": "stern"})
    deployments.update(ready, "chat", "blue", change)
    found = advance(ready, fleet)
    assert (found.revision, found.init) == (2, {"tone": "stern"})
    assert [start.spec["init"]["tone"] for start in fleet.starts] == ["kind", "stern"]
    with pytest.raises(UsageError, match="names init and no flow"):
        deployments.update(ready, "chat", "blue", DeploymentUpdate(init={"tone": "x"}))
    for path, init in ((folder, {"tone": "x"}), (flex, {"password": CANARY})):
        with pytest.raises(UsageError, match=r"takes no init|looks like a secret: password"):
            deploy(ready, path, name="green", init=init)


def test_secrets_go_through_the_pipe_and_into_no_file(
    ready: Context, fleet: FakeWorkers, folder: Path
) -> None:
    deploy(ready, folder)
    advance(ready, fleet)
    (start,) = fleet.starts
    assert start.private is not None
    assert json.loads(start.private)["values"]["faq-model"]["secrets"] == {"key": CANARY}
    assert CANARY not in json.dumps(start.spec)
    for file in ready.home.root.rglob("*"):
        if file.is_file():
            assert CANARY.encode() not in file.read_bytes(), file


def test_a_flow_is_asked_once(ready: Context, fleet: FakeWorkers, folder: Path) -> None:
    deploy(ready, folder)
    advance(ready, fleet)
    route = load_routes(ready.home.routes).endpoints["chat"].deployments["blue"]
    assert route.once
    assert len(route.replicas) == 1


def test_a_changed_secret_is_rolled_out(ready: Context, fleet: FakeWorkers, folder: Path) -> None:
    deploy(ready, folder)
    assert advance(ready, fleet).revision == 1
    assert advance(ready, fleet).revision == 1  # nothing has changed
    connections.create(ready, connection("another-secret"), replace=True)
    found = advance(ready, fleet, 10)
    assert found.revision == 2
    assert found.provisioning_state == "Succeeded"
    assert [each.revision for each in found.replicas] == [2]
    told = fleet.starts[-1].private
    assert told is not None
    assert b"another-secret" in told


def test_a_regenerated_key_of_an_endpoint_reaches_it(
    ready: Context, fleet: FakeWorkers, folder: Path
) -> None:
    endpoints.create(ready, EndpointSpec(name="faq"))
    (folder / "flow.dag.yaml").write_text(YAML.replace("CONNECTION", "endpoint:faq"))
    deploy(ready, folder)
    advance(ready, fleet)
    endpoints.regenerate_key(ready, "faq", "primary")
    key = endpoints.keys(ready, "faq").primaryKey
    assert advance(ready, fleet, 10).revision == 2
    told = fleet.starts[-1].private
    assert told is not None
    assert key.encode() in told


def test_an_update_brings_the_folder_anew(ready: Context, fleet: FakeWorkers, folder: Path) -> None:
    before = deploy(ready, folder)
    advance(ready, fleet)
    same = DeploymentUpdate(flow=str(folder))
    assert deployments.update(ready, "chat", "blue", same).revision == 1
    (folder / "say.py").write_text(TOOL + "\n# better\n")
    deployments.update(ready, "chat", "blue", same)
    found = advance(ready, fleet, 10)
    assert found.revision == 2
    assert found.model != before.model
    with pytest.raises(UsageError):
        deployments.update(ready, "chat", "blue", DeploymentUpdate(connections={"a.b": "c"}))


def test_what_is_deployed_is_not_pruned(ready: Context, fleet: FakeWorkers, folder: Path) -> None:
    made = deploy(ready, folder)
    assert made.snapshot is not None
    with ready.begin("prune") as session:
        assert made.snapshot.sha256 in Uses.of(session, ready).digests


def test_what_cannot_be_deployed_leaves_no_deployment(ready: Context, folder: Path) -> None:
    with pytest.raises(NotFound):
        deploy(ready, folder / "not-there")
    connections.delete(ready, "faq-model")
    with pytest.raises(NotFound, match="faq-model"):
        deploy(ready, folder)
    assert deployments.listing(ready, "chat") == []


def test_one_file_says_a_flow_or_a_model() -> None:
    values = {"name": "blue", "endpoint_name": "chat"}
    with pytest.raises(ValidationError, match="both named"):
        DeploymentSpec.model_validate({**values, "model": MODEL, "flow": "./f"})
    spec = DeploymentSpec.model_validate(
        {
            **values,
            "model": "./my-flow",
            "environment_variables": {"PROMPTFLOW_RUN_MODE": "serving"},
        }
    )
    assert (spec.flow, spec.model, spec.gate) == ("./my-flow", "flow:my-flow", False)


def test_the_folder_may_go_once_it_is_deployed(
    ready: Context, fleet: FakeWorkers, folder: Path
) -> None:
    deploy(ready, folder)
    shutil.rmtree(folder)
    assert advance(ready, fleet).ready_replicas == 1
