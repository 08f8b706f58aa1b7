"""What `apply` makes of a deployment's document that names a flow."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from phoundry.flows.load import load_flow
from phoundry.journey.export import _of_deployment  # pyright: ignore[reportPrivateUsage]
from phoundry.journey.redeploy import changes, rolls_out, update
from phoundry.serving.flow.packing import pack
from phoundry.specs.deployment import Deployment, DeploymentSpec, FlowSnapshot

YAML = """\
outputs:
  answer: {type: string, reference: "${say.output}"}
nodes:
- name: say
  type: python
  source: {type: code, path: say.py}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my-flow"
    made.mkdir()
    (made / "flow.dag.yaml").write_text(YAML)
    (made / "say.py").write_text(
        "from promptflow import tool\n\n\n@tool\ndef say():\n    return 'hi'\n"
    )
    return made


def deployed(folder: Path) -> Deployment:
    digest = hashlib.sha256(pack(load_flow(folder))).hexdigest()
    return Deployment(
        name="blue",
        endpoint_name="chat",
        model=f"flow:my-flow@{digest[:8]}",
        flow=str(folder),
        snapshot=FlowSnapshot(sha256=digest, file="flow.dag.yaml"),
        engine="flow",
        provisioning_state="Succeeded",
        created_at=datetime.now(UTC),
    )


def wanted(folder: Path) -> DeploymentSpec:
    values = {"name": "blue", "endpoint_name": "chat", "flow": str(folder)}
    return DeploymentSpec.model_validate(values)


def test_the_same_files_change_nothing(folder: Path) -> None:
    assert changes(deployed(folder), wanted(folder)) == []
    assert update(deployed(folder), wanted(folder)) is None


def test_other_files_are_rolled_out(folder: Path) -> None:
    found = deployed(folder)
    (folder / "say.py").write_text((folder / "say.py").read_text().replace("hi", "hello"))
    (change,) = changes(found, wanted(folder))
    assert (change.field, change.old) == ("flow", found.model)
    assert rolls_out([change])
    asked = update(found, wanted(folder))
    assert asked is not None
    assert (asked.flow, asked.model, asked.connections) == (str(folder), None, None)


def test_what_is_exported_names_the_folder_alone(folder: Path) -> None:
    (document,) = _of_deployment(deployed(folder))
    assert document["flow"] == str(folder)
    assert {"engine", "snapshot"}.isdisjoint(document)
    again = DeploymentSpec.model_validate(document)
    assert changes(deployed(folder), again) == []
