"""What is told before the start because it cannot come, or costs much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phoundry.training.planning.advice import advice, without_evaluation
from phoundry.training.planning.draft import Draft, make_draft
from tests.training.conftest import CheckpointMaker
from tests.training.drafts import make_spec

INSTRUCTION = "You answer in one short sentence, without a greeting, in the tone of a teacher. " * 6


@pytest.fixture
def draft(checkpoint_maker: CheckpointMaker, tmp_path: Path) -> Any:
    def made(*, system: str = "", **values: Any) -> Draft:
        path = tmp_path / "rows.jsonl"
        rows: list[dict[str, Any]] = []
        for number in range(20):
            asked = [{"role": "user", "content": f"What is {number} and {number}?"}]
            told = [{"role": "system", "content": system}] if system else []
            said = [{"role": "assistant", "content": f"It is {2 * number}."}]
            rows.append({"messages": [*told, *asked, *said]})
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return make_draft(make_spec(checkpoint_maker("llama"), path, tmp_path, **values))

    return made


def test_nothing_is_said_where_all_is_well(draft: Any) -> None:
    assert advice(draft(pack_length=64)) == []


def test_a_warm_up_that_never_ends(draft: Any) -> None:
    values = {"pack_length": 64, "max_steps": 3}
    (said,) = advice(draft(warmup_steps=3, **values))
    assert "warmup_steps=3 outlasts the run's 3 steps" in said
    assert advice(draft(warmup_steps=2, **values)) == []


def test_packs_too_short_for_what_conversations_share(draft: Any) -> None:
    values = {"system": INSTRUCTION, "gradient_accumulation_steps": 1}
    capacity = draft(**values).longest
    (said,) = advice(draft(pack_length=capacity, **values))
    assert f"packs of {capacity} tokens hold few of them" in said
    assert "pack_length=" in said
    suggested = int(said.split("pack_length=")[1].split(",")[0])
    assert advice(draft(pack_length=suggested, **values)) == []
    assert advice(draft(packing=False, **values)) == []
    # A step of several packs lays them out together.
    several = values | {"gradient_accumulation_steps": 20}
    assert advice(draft(pack_length=capacity, **several)) == []


def test_that_nothing_is_held_out(draft: Any) -> None:
    assert "nothing is evaluated" in without_evaluation(draft())[0]
    assert without_evaluation(draft(evaluation_strategy="disable")) == []
