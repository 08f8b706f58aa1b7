"""What a training will take before anything is started, and where the speed comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import PhoundryError
from phoundry.services import forecast, job_plans, jobs
from phoundry.services.context import Context
from phoundry.specs.job import FineTuningJobSpec
from phoundry.specs.plan import Forecast
from phoundry.store.tables import JobRow
from phoundry.training.planning.choices import Choices, Speed, save_choices
from tests.services.fake_workers import MODEL, FakeWorkers
from tests.services.test_reconcile import tick
from tests.support.assets import make_asset

LORA: dict[str, Any] = {"apply_lora": True}
SPEED = Speed(
    tokens_per_second=250,
    optimizer_seconds=0.1,
    evaluated_per_second=900,
    written_per_second=1e8,
)


@pytest.fixture
def faq(context: Context, chats: bytes) -> str:
    return make_asset(context, chats).name


def told(context: Context, **finetune: Any) -> Forecast:
    return forecast.training(context, MODEL, {**LORA, **finetune}, asset=None, train_bytes=400_000)


def job(context: Context, run_dir: Path, **changes: Any) -> str:
    spec = FineTuningJobSpec.model_validate(
        {"model": MODEL, "training_data": "faq", "hyperparameters": LORA}
    )
    name = jobs.create(context, spec).name
    with context.begin("jobs/write") as session:
        row = session.query(JobRow).filter_by(name=name).one()
        row.run_dir = str(run_dir)
        for key, value in changes.items():
            setattr(row, key, value)
    return name


def test_without_a_measurement_no_time_is_invented(context: Context) -> None:
    found = told(context)
    assert found.tokens
    assert found.steps
    assert found.seconds is None
    assert found.tokens_per_second is None


def test_a_job_that_ran_here_gives_its_speed(context: Context, faq: str, tmp_path: Path) -> None:
    name = job(context, tmp_path, status="Completed", progress={"tokens_per_second": 400.0})
    found = told(context, num_train_epochs=2)
    assert found.tokens_per_second == 400
    assert found.basis == f"as job {name} ran here"
    assert found.tokens is not None
    assert found.seconds == pytest.approx(found.tokens * found.epochs / 400)
    assert told(context, apply_lora=False).seconds is None  # another method says nothing


def test_a_job_that_has_only_begun_was_measured(context: Context, faq: str, tmp_path: Path) -> None:
    save_choices(tmp_path, Choices(precision="16", row_tokens=512, speed=SPEED))
    name = job(context, tmp_path, status="Running")
    assert (told(context).tokens_per_second, told(context).basis) == (
        250,
        f"as measured at the start of job {name}",
    )
    (tmp_path / "plan.json").write_text("{")
    assert told(context).seconds is None


def test_a_plan_that_was_measured_gives_its_speed(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    spec = FineTuningJobSpec.model_validate(
        {"model": MODEL, "training_data": "faq", "hyperparameters": LORA}
    )
    name = job_plans.start(context, spec).name
    tick(context)
    fleet.work()
    tick(context)
    job_plans.look(context, name)
    run_dir = fleet.one("planner")
    plan = {"tokens_per_second": 320.0, "parameters": LORA, "fits": True}
    fleet.end(run_dir, plan=plan)
    tick(context)
    assert told(context).tokens_per_second == 320
    assert told(context).basis == "as a plan measured here"


def test_memory_is_what_the_plan_would_choose(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy = told(context)
    assert roomy.fits
    assert roomy.memory_bytes
    monkeypatch.setenv("PHOUNDRY_MEMORY_LIMIT", str(roomy.memory_bytes - 1))
    short = told(context)
    assert short.fits
    assert short.memory_bytes
    assert short.memory_bytes < roomy.memory_bytes
    monkeypatch.setenv("PHOUNDRY_MEMORY_LIMIT", "1000000")
    assert told(context).fits is False


def test_parameters_that_are_wrong_are_refused(context: Context) -> None:
    with pytest.raises(PhoundryError, match="not usable"):
        told(context, lora_r=0)
