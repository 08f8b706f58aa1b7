"""What is left open is chosen by memory; what the user set stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import InsufficientResources
from phoundry.specs.job import Choice
from phoundry.training import machine
from phoundry.training.planning import choose as module
from phoundry.training.planning import remedies
from phoundry.training.planning.choices import Choices
from phoundry.training.planning.choose import apply_choices, choose, find_options
from phoundry.training.planning.draft import Draft, make_draft
from phoundry.training.spec import TrainingSpec
from tests.training.conftest import CheckpointMaker
from tests.training.drafts import make_spec

Planned = Callable[..., tuple[TrainingSpec, Draft]]
OPEN = {"precision": "machine"}


@pytest.fixture
def planned(
    checkpoint_maker: CheckpointMaker,
    messages_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Planned:
    """Short rows are tried, as if the model were a real one; the longest conversation has 41."""
    monkeypatch.setattr(module, "ROWS", (48, 64, 128))
    monkeypatch.setattr(module, "USUAL_ROW", 64)
    for each in (module, remedies):
        monkeypatch.setattr(each, "SHORTEST_ROW", 16)
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: True)
    train = messages_file(40)

    def make(**values: Any) -> tuple[TrainingSpec, Draft]:
        spec = make_spec(checkpoint_maker("llama"), train, tmp_path, **values)
        return spec, make_draft(spec)

    return make


def test_with_memory_to_spare_everything_is_kept_and_three_rows_are_open(planned: Planned) -> None:
    spec, draft = planned()
    options = find_options(spec, draft)
    assert options.rows == (48, 64, 128)
    assert options.row == 64
    assert not options.recompute


def test_rows_never_outgrow_the_step(planned: Planned) -> None:
    spec, draft = planned(gradient_accumulation_steps=1, pack_length=50)
    assert find_options(spec, draft).rows == (48, 50)


def test_a_batch_that_the_user_set_bounds_the_row(planned: Planned) -> None:
    spec, draft = planned(sources={"per_device_train_batch_size": "user"})
    assert max(find_options(spec, draft).rows) == 64


@pytest.mark.parametrize(("wanted", "recompute"), [("auto", True), ("true", True), ("false", None)])
def test_recomputing_is_for_when_memory_is_short(
    planned: Planned, wanted: str, recompute: bool | None
) -> None:
    _, draft = planned()
    kept = draft.memory(32, recompute=False)
    saved = draft.memory(32, recompute=True)
    assert saved < kept
    spec, draft = planned(gradient_checkpointing=wanted, memory=saved)
    if recompute is None:
        with pytest.raises(InsufficientResources, match="GB") as caught:
            find_options(spec, draft)
        assert "gradient_checkpointing=true" in (caught.value.remedy or "")
    else:
        assert find_options(spec, draft).recompute is recompute


def test_recomputing_asked_for_is_done_though_there_is_memory(planned: Planned) -> None:
    spec, draft = planned(gradient_checkpointing="true")
    assert find_options(spec, draft).recompute


def test_a_row_is_shortened_before_anything_is_computed_again(planned: Planned) -> None:
    _, draft = planned()
    spec, draft = planned(memory=draft.memory(32, recompute=False))
    options = find_options(spec, draft)
    assert options.rows == (draft.longest,)
    assert not options.recompute


@pytest.mark.parametrize(
    ("source", "flags", "open_"),
    [
        ("machine", True, 2),
        ("default", True, 2),
        ("user", True, 1),
        (None, True, 1),
        ("machine", False, 1),
    ],
)
def test_precision_is_open_where_the_user_said_nothing_and_the_processor_can(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, source: str | None, flags: bool, open_: int
) -> None:
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: flags)
    spec, draft = planned(precision="16", sources={"precision": source} if source else {})
    options = find_options(spec, draft)
    assert len(options.precisions) == open_
    assert options.precisions[0] == "16"


def test_a_short_run_is_not_measured_and_says_so(planned: Planned) -> None:
    spec, draft = planned(sources=OPEN)
    choices = choose(spec, draft)
    assert (choices.precision, choices.row_tokens, choices.recompute) == ("32", 64, False)
    assert choices.speed is None
    by_name = {entry.name: entry for entry in choices.entries}
    assert "too short" in by_name["row_tokens"].why
    assert by_name["gradient_checkpointing"].value == "false"
    assert choose(spec, draft).arithmetic() == choices.arithmetic()


def test_full_determinism_measures_nothing(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORTH", 0)
    spec, draft = planned(sources=OPEN, enable_full_determinism=True)
    assert all("enable_full_determinism" in e.why for e in choose(spec, draft).entries[:2])


def test_auto_find_batch_size_keeps_the_packs_of_a_step(planned: Planned) -> None:
    spec, draft = planned(
        auto_find_batch_size=True,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=3,
        sources={"per_device_train_batch_size": "user"},
    )
    choices = choose(spec, draft)
    parameters, sources = apply_choices(draft.parameters, spec.sources, choices)
    batch = parameters.per_device_train_batch_size
    assert batch < 4
    assert batch * parameters.gradient_accumulation_steps == 12
    assert sources["per_device_train_batch_size"] == "measured"


def test_only_what_was_measured_is_called_measured(planned: Planned) -> None:
    spec, draft = planned(sources=OPEN)
    same = Choices(precision="32", row_tokens=32)
    assert apply_choices(draft.parameters, spec.sources, same) == (draft.parameters, OPEN)
    timed = Choice(name="precision", value="16", measured={"16": 2.0, "32": 1.0})
    changed, sources = apply_choices(
        draft.parameters, spec.sources, Choices(precision="16", row_tokens=32, entries=[timed])
    )
    assert changed.precision == "16"
    assert sources["precision"] == "measured"
