"""Fine-tunes of one base that say `adapter: shared`: what their processes are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from phoundry.files import write_json
from phoundry.services import deployments, endpoints
from phoundry.services.context import Context
from phoundry.services.reconcile import deployments as reconcile_deployments
from phoundry.services.reconcile import tasks as reconcile_tasks
from phoundry.specs.deployment import DeploymentSpec, DeploymentUpdate
from phoundry.specs.endpoint import EndpointSpec
from phoundry.store.tables import ModelRow, ReplicaRow
from tests.services.fake_workers import MODEL, FakeWorkers, Started


@pytest.fixture
def tuned(context: Context, tmp_path: Path) -> list[str]:
    """Two registered fine-tunes with adapters, and one without."""
    from phoundry.models import catalog

    endpoints.create(context, EndpointSpec(name="faq"))
    entry = catalog.find(MODEL)
    assert entry is not None
    for number in range(3):
        folder = tmp_path / f"m{number}" / "checkpoint"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(dict(entry.config)))
        if number < 2:
            (folder.with_name("adapter")).mkdir()
            write_json(folder.with_name("adapter") / "base.json", {"base_sha256": None})
        with context.begin("models/write") as session:
            session.add(
                ModelRow(
                    workspace="default",
                    name=f"m{number}",
                    version=1,
                    status="Ready",
                    base_model=MODEL,
                    checkpoint_dir=str(folder),
                )
            )
    return ["m0:1", "m1:1", "m2:1"]


def deploy(context: Context, fleet: FakeWorkers, name: str, model: str, **values: Any) -> Started:
    """A deployment until its replica answers; what that was started with."""
    spec = DeploymentSpec.model_validate(
        {"name": name, "endpoint_name": "faq", "model": model, "adapter": "shared", **values}
    )
    deployments.create(context, spec)
    work(context, fleet)
    return [start for start in fleet.starts if start.spec.get("name") == f"faq/{name}"][-1]


def work(context: Context, fleet: FakeWorkers) -> None:
    for _ in range(6):
        reconcile_deployments.tick(context)
        for folder, started in list(fleet.running.items()):
            if started.module == "phoundry.models.adapter_gguf":
                path = Path(started.spec["gguf_path"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"GGUF")
                fleet.end(folder)
            elif "replica" in started.module:
                fleet.answer(folder)
        fleet.work()
        reconcile_tasks.tick(context)


def test_two_of_one_base_share_a_process(
    context: Context, fleet: FakeWorkers, tuned: list[str]
) -> None:
    one = deploy(context, fleet, "one", tuned[0])
    other = deploy(context, fleet, "other", tuned[1])
    assert one.module == other.module == "phoundry.serving.replica.member"
    assert one.spec["pool_dir"] == other.spec["pool_dir"]
    assert one.spec["gguf_path"] == other.spec["gguf_path"]
    assert one.spec["adapter_path"] != other.spec["adapter_path"]
    # Conversations are rendered with the fine-tune's own tokenizer.
    assert one.spec["tokenizer_dir"] != other.spec["tokenizer_dir"]
    assert deployments.show(context, "faq", "one").provisioning_state == "Succeeded"
    longer = deploy(context, fleet, "longer", tuned[1], context_length=128)
    assert longer.spec["pool_dir"] != one.spec["pool_dir"]
    assert fleet.modules().count("models.adapter_gguf") == 2
    assert fleet.modules().count("models.convert") == 1


def test_merged_unless_asked(context: Context, fleet: FakeWorkers, tuned: list[str]) -> None:
    plain = deploy(context, fleet, "plain", tuned[0], adapter="merged")
    assert plain.module == "phoundry.serving.replica"
    assert "pool_dir" not in plain.spec
    shown = deployments.update(context, "faq", "plain", DeploymentUpdate(adapter="shared"))
    assert (shown.adapter, shown.revision) == ("shared", 2)


def test_its_log_is_that_of_the_process_it_shares_until_it_fails(
    context: Context, fleet: FakeWorkers, tuned: list[str]
) -> None:
    started = deploy(context, fleet, "one", tuned[0])
    own = next(folder for folder, each in fleet.running.items() if each is started)
    write_json(own / "spec.json", started.spec)
    (own / "log.txt").write_text("its own\n")
    assert deployments.logs(context, "faq", "one").text == "its own\n"
    pool = Path(started.spec["pool_dir"])
    pool.mkdir(parents=True)
    (pool / "log.txt").write_text("llama.cpp's\n")
    told = deployments.logs(context, "faq", "one")
    assert (told.text, told.finished) == ("llama.cpp's\n", False)
    with context.begin("deployments/write") as session:
        (row,) = session.scalars(select(ReplicaRow)).all()
        row.state = "failed"
    told = deployments.logs(context, "faq", "one")
    assert (told.text, told.finished) == ("its own\n", True)


def test_without_an_adapter_it_fails_with_the_reason(
    context: Context, fleet: FakeWorkers, tuned: list[str]
) -> None:
    spec = DeploymentSpec(name="none", endpoint_name="faq", model=tuned[2], adapter="shared")
    deployments.create(context, spec)
    work(context, fleet)
    shown = deployments.show(context, "faq", "none")
    assert shown.provisioning_state == "Failed"
    assert "has no adapter of its own" in str(shown.error)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"engine": "transformers"}, "is for the engine llama.cpp"),
        ({"instance_count": 2}, "2 replicas would be one"),
        (
            {"scale_settings": {"type": "target_utilization", "max_instances": 3}},
            "3 replicas would be one",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        DeploymentSpec.model_validate(
            {"name": "blue", "endpoint_name": "faq", "model": "m:1", "adapter": "shared", **values}
        )
