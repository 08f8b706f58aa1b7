"""What is refused before a job exists, so that nobody finds out after an hour."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import InvalidInput
from phoundry.services import job_plans, jobs
from phoundry.services.context import Context
from phoundry.specs.job import FineTuningJobSpec
from tests.data.tool_templates import make_tools_tokenizer
from tests.support.assets import make_asset
from tests.support.checkpoints import build

CALL = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALLING = {
    "messages": [
        {"role": "user", "content": "How is it in Oslo?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "call_1", **CALL}]},
        {"role": "tool", "content": "Rain.", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "It rains."},
    ],
    "tools": TOOLS,
}


def plain(number: int) -> dict[str, Any]:
    answer = {"role": "assistant", "content": f"It is number {number}."}
    return {"messages": [{"role": "user", "content": f"What is {number}?"}, answer]}


def asset(context: Context, rows: list[dict[str, Any]], **settings: Any) -> str:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    made = make_asset(context, content, **settings)
    return f"{made.name}:{made.version}"


def spec(model: str, **changes: Any) -> FineTuningJobSpec:
    values = {"model": model, "training_data": "faq", **changes}
    return FineTuningJobSpec.model_validate(values)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("llama", tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.mark.parametrize("verb", [jobs.create, job_plans.start], ids=["create", "plan"])
def test_tool_calls_that_the_template_leaves_out_are_refused_by_row(
    context: Context, checkpoint: Path, verb: Any
) -> None:
    asset(context, [plain(1), CALLING, plain(2)], test_size=0.0)
    asset(context, [CALLING], name="held", test_size=0.0)
    with pytest.raises(InvalidInput) as refused:
        verb(context, spec(str(checkpoint), validation_data="held"))
    places = [fault.where for fault in refused.value.faults]
    assert places == ["faq:1 (train) row 2", "held:1 (train) row 1"]
    assert "no place for them" in refused.value.faults[0].reason
    assert str(checkpoint) in refused.value.message
    assert jobs.listing(context) == []


def test_a_template_that_knows_tools_takes_them(
    context: Context, checkpoint: Path, tmp_path: Path
) -> None:
    knowing = make_tools_tokenizer(tmp_path / "knowing", "qwen3")
    for name in ("config.json", "model.safetensors"):
        (knowing / name).write_bytes((checkpoint / name).read_bytes())
    asset(context, [CALLING], test_size=0.0)
    assert jobs.create(context, spec(str(knowing))).status == "Queued"


def test_words_about_tools_are_no_tools(context: Context, checkpoint: Path) -> None:
    row = plain(1)
    row["messages"][0]["content"] = 'What is "tool_calls" in the "tools" of the API?'
    asset(context, [row], test_size=0.0)
    assert jobs.create(context, spec(str(checkpoint))).status == "Queued"


@pytest.mark.parametrize("asked", ["apply_early_stopping", "load_best_model_at_end"])
def test_who_wants_the_best_needs_something_held_out(
    context: Context, checkpoint: Path, asked: str
) -> None:
    asset(context, [plain(1), plain(2)], test_size=0.0)
    wanted = spec(str(checkpoint), hyperparameters={asked: "true"})
    with pytest.raises(InvalidInput, match="there are none: give validation_data") as refused:
        jobs.create(context, wanted)
    assert [fault.where for fault in refused.value.faults] == [f"hyperparameters {asked}"]
    typo = {**wanted.hyperparameters, "learning_rat": 1}
    with pytest.raises(InvalidInput) as refused:  # beside what else is wrong
        jobs.create(context, wanted.model_copy(update={"hyperparameters": typo}))
    assert refused.value.total == 2
    asset(context, [plain(3)], name="held", test_size=0.0)
    job = jobs.create(context, wanted.model_copy(update={"validation_data": "held"}))
    assert job.validation_data == "held:1"
