"""What is waited for is shown: read from the workers' events when somebody looks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from phoundry.services import data_tokens, deployments, endpoints, jobs, models
from phoundry.services.context import Context
from phoundry.services.reconcile import deployments as reconcile_deployments
from phoundry.services.reconcile import jobs as reconcile_jobs
from phoundry.services.reconcile import models as reconcile_models
from phoundry.services.reconcile import tasks as reconcile_tasks
from phoundry.specs.base import Preparation
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.job import FineTuningJobSpec
from phoundry.specs.model import ModelSpec
from phoundry.spool import Spool
from tests.services.fake_workers import MODEL, FakeWorkers
from tests.support.assets import make_asset

FILE = {"file": "model.safetensors", "bytes": 120_400_000, "total": 270_000_000}
WORDS = "Downloading model.safetensors 120 of 270 MB"


@pytest.fixture
def job(context: Context, chats: bytes, fleet: FakeWorkers) -> str:
    """A job that waits for its base model."""
    make_asset(context, chats)
    spec = FineTuningJobSpec(name="one", model=MODEL, training_data="faq")
    jobs.create(context, spec)
    reconcile_jobs.tick(context)
    return "one"


def begun(folder: Path) -> Spool:
    """The events of a worker; its folder as `workers.start` leaves it."""
    (folder / "spec.json").write_text("{}")
    os.utime(folder / "spec.json", (1.0, 1.0))
    return Spool(folder / "events.jsonl")


def words(found: Preparation | None) -> str | None:
    return found.words() if found else None


def test_whoever_waits_for_a_download_is_told_its_bytes(
    context: Context, job: str, fleet: FakeWorkers
) -> None:
    endpoints.create(context, EndpointSpec(name="faq-bot"))
    deployments.create(context, DeploymentSpec(name="blue", endpoint_name="faq-bot", model=MODEL))
    spool = begun(fleet.one("materialize"))
    assert jobs.show(context, job).preparation is None  # it has said nothing yet
    spool.append("progress", message="Downloading it.")
    assert words(jobs.show(context, job).preparation) == "Downloading it"
    spool.append("progress", **FILE)
    shown = jobs.show(context, job)
    assert words(shown.preparation) == WORDS
    assert shown.model_dump(mode="json")["preparation"] == {
        "message": "Downloading model.safetensors",
        **FILE,
    }
    assert words(jobs.listing(context)[0].preparation) == WORDS
    assert words(deployments.show(context, "faq-bot", "blue").preparation) == WORDS
    report = data_tokens.report(context, "faq", MODEL, part="train", limit=0)
    assert (report.ready, words(report.preparation)) == (False, WORDS)


def test_nothing_is_told_of_what_is_there(context: Context, job: str, fleet: FakeWorkers) -> None:
    begun(fleet.one("materialize")).append("progress", **FILE)
    fleet.work()
    reconcile_tasks.tick(context)
    reconcile_jobs.tick(context)
    shown = jobs.show(context, job)
    assert (shown.status, shown.preparation) == ("Running", None)


def test_what_an_earlier_attempt_told_is_not_shown(
    context: Context, job: str, fleet: FakeWorkers
) -> None:
    folder = fleet.one("materialize")
    Spool(folder / "events.jsonl").append("progress", **FILE)
    (folder / "spec.json").write_text("{}")
    os.utime(folder / "spec.json", (4e9, 4e9))  # started after that event
    assert jobs.show(context, job).preparation is None


def test_a_conversion_and_a_registration_are_told(
    context: Context, job: str, fleet: FakeWorkers
) -> None:
    for _ in range(3):
        fleet.work()
        reconcile_tasks.tick(context)
        reconcile_jobs.tick(context)
    models.register(context, ModelSpec(name="bot", job=job))
    reconcile_models.tick(context)
    begun(fleet.one("register")).append("progress", message="Merging.")
    assert words(models.show(context, "bot").preparation) == "Merging"
    fleet.work()
    reconcile_models.tick(context)
    assert models.show(context, "bot").preparation is None
    endpoints.create(context, EndpointSpec(name="faq-bot"))
    deployments.create(context, DeploymentSpec(name="blue", endpoint_name="faq-bot", model="bot:1"))
    reconcile_deployments.tick(context)
    begun(fleet.one("convert")).append("progress", message="Converting to GGUF Q8_0.")
    assert words(deployments.show(context, "faq-bot", "blue").preparation) == (
        "Converting to GGUF Q8_0"
    )


@pytest.mark.parametrize(
    ("here", "total", "said"),
    [
        (0, 7_642_159_104, "D 0 of 7,643 MB"),
        (7_642_159_104, 7_642_159_104, "D 7,642 of 7,643 MB"),
        (1_500, 9_000, "D 1 of 9 kB"),
        (None, None, "D"),
        (0, 0, "D"),
    ],
)
def test_bytes_in_words(here: int | None, total: int | None, said: str) -> None:
    assert Preparation(message="D", bytes=here, total=total).words() == said
