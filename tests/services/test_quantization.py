"""Which GGUF a deployment serves, and what its conversion said."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.files import write_json
from phoundry.models.gguf_record import record_path
from phoundry.services import deployments, endpoints
from phoundry.services.context import Context
from phoundry.services.reconcile import deployments as reconcile_deployments
from phoundry.services.reconcile import tasks as reconcile_tasks
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.quantization import Quantization
from tests.services.fake_workers import MODEL, FakeWorkers


@pytest.fixture
def endpoint(context: Context) -> str:
    return endpoints.create(context, EndpointSpec(name="faq")).name


def deploy(
    context: Context, fleet: FakeWorkers, name: str, kind: Quantization | None, *, record: bool
) -> Path:
    """A deployment as far as its replica; the file that the replica was given."""
    spec = DeploymentSpec(name=name, endpoint_name="faq", model=MODEL, quantization=kind)
    deployments.create(context, spec)
    for _ in range(3):
        reconcile_deployments.tick(context)
        for folder, started in list(fleet.running.items()):
            if started.module == "phoundry.models.convert":
                path = Path(started.spec["gguf_path"])
                fleet.work()
                if record:
                    found = {"bytes": path.stat().st_size, "notices": ["Four bits lose much."]}
                    write_json(record_path(path), found)
                assert folder not in fleet.running
            elif not started.module.endswith("replica"):
                fleet.work()
        reconcile_tasks.tick(context)
    (replica,) = [start for start in fleet.starts if start.spec.get("name") == f"faq/{name}"]
    return Path(replica.spec["gguf_path"])


def test_q8_0_unless_named(context: Context, fleet: FakeWorkers, endpoint: str) -> None:
    plain = deploy(context, fleet, "plain", None, record=False)
    assert plain.name.endswith("-Q8_0.gguf")
    assert deployments.show(context, endpoint, "plain").quantization == "Q8_0"


def test_two_kinds_of_one_model_are_two_files(
    context: Context, fleet: FakeWorkers, endpoint: str
) -> None:
    large = deploy(context, fleet, "large", None, record=False)
    small = deploy(context, fleet, "small", "Q4_0", record=False)
    assert small == large.with_name(large.name.replace("Q8_0", "Q4_0"))
    assert deployments.show(context, endpoint, "small").quantization == "Q4_0"
    assert [start.spec["quantization"] for start in fleet.starts if "convert" in start.module] == [
        "Q8_0",
        "Q4_0",
    ]


def test_what_the_conversion_noticed_is_shown_once(
    context: Context, fleet: FakeWorkers, endpoint: str
) -> None:
    deploy(context, fleet, "small", "Q4_0", record=True)
    assert deployments.show(context, endpoint, "small").notices == ["Four bits lose much."]
    fleet.end(fleet.one("replica"), "failed")
    for _ in range(3):
        reconcile_deployments.tick(context)
    assert deployments.show(context, endpoint, "small").notices == ["Four bits lose much."]


def test_a_file_that_was_cut_short_is_made_again(
    context: Context, fleet: FakeWorkers, endpoint: str
) -> None:
    path = deploy(context, fleet, "one", "Q4_0", record=True)
    path.write_bytes(b"")
    deploy(context, fleet, "two", "Q4_0", record=True)
    assert path.read_bytes() == b"GGUF"
    assert fleet.modules().count("models.convert") == 2
