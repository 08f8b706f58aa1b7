"""Plans: asked for, waited for, dropped; with workers that answer as the planner does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import InvalidInput, ModelError, NotFound
from phoundry.services import job_plans, jobs
from phoundry.services.context import Context
from phoundry.specs.job import FineTuningJobSpec, Planning
from phoundry.spool import Spool
from phoundry.store.tables import TaskRow
from tests.services.fake_workers import MODEL, FakeWorkers
from tests.services.test_reconcile import tick, training
from tests.support.assets import make_asset

PLAN: dict[str, Any] = {"conversations": 8, "steps": 3, "memory_bytes": 2 * 10**9, "fits": True}


@pytest.fixture
def faq(context: Context, chats: bytes) -> str:
    return make_asset(context, chats).name


def spec(**changes: Any) -> FineTuningJobSpec:
    return FineTuningJobSpec.model_validate({"model": MODEL, "training_data": "faq", **changes})


def begun(context: Context, fleet: FakeWorkers, **changes: Any) -> tuple[str, Path]:
    """A plan whose worker runs, and its folder."""
    name = job_plans.start(context, spec(**changes)).name
    tick(context)
    fleet.work()  # the base model
    tick(context)
    job_plans.look(context, name)
    return name, fleet.one("planner")


def said(planning: Planning) -> str:
    return planning.preparation.message if planning.preparation else ""


def test_the_base_model_is_fetched_then_the_planner_is_told_what_a_job_would_be(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    asked = job_plans.start(context, spec(hyperparameters={"lora_r": "4"}))
    assert (asked.plan, said(asked)) == (None, f"Getting {MODEL}")
    assert fleet.modules() == ["models.materialize"]
    fleet.work()
    tick(context)
    assert said(job_plans.look(context, asked.name)) == "Reading the data"
    told = fleet.starts[-1].spec
    jobs.create(context, spec(hyperparameters={"lora_r": "4"}))
    tick(context, 2)
    assert fleet.modules() == ["models.materialize", "training.planner", "training"]
    assert fleet.starts[-1].spec == told


def test_what_the_worker_says_is_shown_and_its_plan_bears_the_users_names(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    name, folder = begun(context, fleet)
    Spool(folder / "events.jsonl").append("notice", message="Measured: 300 tokens a second.")
    assert said(job_plans.look(context, name)) == "Measured: 300 tokens a second"
    fleet.end(folder, plan=PLAN)
    tick(context)
    plan = job_plans.look(context, name).plan
    assert plan is not None
    assert (plan.model, plan.training_data, plan.steps) == (MODEL, "faq:1", 3)
    assert jobs.listing(context) == []


def test_every_plan_is_measured_anew(context: Context, faq: str, fleet: FakeWorkers) -> None:
    first, folder = begun(context, fleet)
    fleet.end(folder, plan=PLAN)
    tick(context)
    again = job_plans.start(context, spec())
    assert (again.plan, again.name != first) == (None, True)
    fleet.end(fleet.one("planner"), plan=PLAN | {"steps": 4})
    tick(context)
    plans = [job_plans.look(context, name).plan for name in (first, again.name)]
    assert [plan.steps for plan in plans if plan] == [3, 4]


def test_a_plan_made_beside_a_training_says_so(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    training(context, fleet)
    name = job_plans.start(context, spec()).name
    fleet.end(fleet.one("planner"), plan=PLAN | {"notices": ["Of the worker."]})
    tick(context)
    plan = job_plans.look(context, name).plan
    assert plan is not None
    assert "Job one trains meanwhile" in plan.notices[0]
    assert plan.notices[1:] == ["Of the worker."]


def test_what_no_job_would_take_gets_no_plan(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    with pytest.raises(NotFound, match="no data asset 'fqa'"):
        job_plans.start(context, spec(training_data="fqa"))
    with pytest.raises(InvalidInput, match="learning_rate"):
        job_plans.start(context, spec(hyperparameters={"learningrate": 1}))
    assert fleet.starts == []


def test_a_planner_that_fails_says_so_in_the_users_words(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    name, folder = begun(context, fleet)
    told = fleet.running[folder].spec
    (folder / "spec.json").write_text(json.dumps(told))
    checkpoint = Path(told["checkpoint_dir"])
    fault = {"where": "row:3", "reason": f"the template of {checkpoint.name} refuses it"}
    error = {
        "code": "InvalidInput",
        "message": f"1 of 8 conversations cannot be used for {checkpoint.name}.",
        "faults": [fault],
        "remedy": f"See {checkpoint}.",
    }
    (folder / "result.json").write_text(json.dumps({"status": "failed", "error": error}))
    del fleet.running[folder]
    tick(context)
    with pytest.raises(InvalidInput) as refused:
        job_plans.look(context, name)
    assert refused.value.message == f"1 of 8 conversations cannot be used for {MODEL}."
    assert str(refused.value.faults[0]) == (
        f"faq:1 (train) row 3: the template of {MODEL} refuses it"
    )
    assert refused.value.remedy == f"See {MODEL}."


def test_a_base_model_that_cannot_be_had_ends_the_plan(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    name = job_plans.start(context, spec()).name
    fleet.end(fleet.one("materialize"), "failed")
    tick(context)
    with pytest.raises(ModelError, match="It failed"):
        job_plans.look(context, name)
    job_plans.start(context, spec())
    assert fleet.modules() == ["models.materialize"] * 2  # who asks again gets another try


def test_a_dropped_plan_is_stopped_and_gone(context: Context, faq: str, fleet: FakeWorkers) -> None:
    name, folder = begun(context, fleet)
    job_plans.drop(context, name)
    assert fleet.terminated == [folder]
    for verb in (job_plans.look, job_plans.drop):
        with pytest.raises(NotFound, match="phoundry job plan"):
            verb(context, name)


def test_a_plan_goes_on_after_down_and_up(context: Context, faq: str, fleet: FakeWorkers) -> None:
    name, folder = begun(context, fleet)
    fleet.end(folder, "cancelled")
    tick(context)
    assert job_plans.look(context, name).plan is None
    assert fleet.modules().count("training.planner") == 2


def test_what_nobody_dropped_does_not_pile_up(
    context: Context, faq: str, fleet: FakeWorkers
) -> None:
    names = [job_plans.start(context, spec()).name for _ in range(job_plans.KEPT + 5)]
    with context.database.begin() as session:
        plans = session.query(TaskRow).filter(TaskRow.key.startswith("plan/")).count()
    assert plans == job_plans.KEPT + 1
    assert job_plans.look(context, names[-1]).name == names[-1]
    assert not (context.home.runs / f"task-plan-{names[0]}").exists()
