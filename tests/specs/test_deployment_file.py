"""Azure ML's deployment file as it stands: every key is known, and what has no effect is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.errors import InvalidInput
from phoundry.specs import yaml
from phoundry.specs.deployment import DeploymentSpec

FULL = """\
$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json
name: blue
endpoint_name: books
type: managed
model: azureml:books:1
model_mount_path: /var/models
code_configuration:
  code: ../src
  scoring_script: score.py
environment:
  image: mcr.microsoft.com/azureml/inference:latest
  conda_file: conda.yaml
environment_variables:
  API_KEY: a-canary-that-is-a-secret
  WORKERS: 2
instance_type: Standard_NC6s_v3
instance_count: 3
app_insights_enabled: true
egress_public_network_access: disabled
request_settings:
  request_timeout_ms: 5000
  max_concurrent_requests_per_instance: 1
  max_queue_wait_ms: 500
liveness_probe: {initial_delay: 1, period: 2, timeout: 3, failure_threshold: 4}
readiness_probe: {period: 9}
scale_settings: {type: target_utilization, min_instances: 0, max_instances: 4}
data_collector:
  collections: {model_inputs: {enabled: true}}
  rolling_rate: day
  sampling_rate: 0.5
properties: {azureml.custom: x}
tags: {team: library}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "deployment.yml"
    path.write_text(FULL)
    return path


def test_one_file_works_here_and_there(file: Path) -> None:
    spec = yaml.load(file, DeploymentSpec)
    assert (spec.instance_count, spec.liveness_probe.failure_threshold) == (3, 4)
    assert (spec.readiness_probe.period, spec.readiness_probe.timeout) == (9, 2)
    assert spec.scale_settings is not None
    assert spec.scale_settings.max_instances == 4
    told = "\n".join(spec.notices())
    for words in ("Standard_NC6s_v3", "score.py", "environment is", "API_KEY, WORKERS", "egress"):
        assert words in told
    assert "canary" not in told + repr(spec)


def test_a_plain_file_is_told_nothing() -> None:
    spec = DeploymentSpec(name="blue", endpoint_name="books", model="books:1")
    assert spec.notices() == []


def test_a_cluster_is_recorded() -> None:
    values = {"name": "blue", "endpoint_name": "books", "model": "books:1", "type": "kubernetes"}
    told = DeploymentSpec.model_validate(values).notices()
    assert told == ["'type: kubernetes' is recorded; the deployment runs on this machine."]


def test_every_fault_has_its_line(file: Path) -> None:
    file.write_text(
        FULL.replace("scoring_script", "scoring_scrip").replace("count: 3", "count: 17")
    )
    with pytest.raises(InvalidInput) as raised:
        yaml.load(file, DeploymentSpec)
    lines = [fault.where.rpartition(":")[2] for fault in raised.value.faults]
    assert sorted(lines, key=int) == ["7", "9", "17"]
