"""What the data settle of a plan: how much of them is computed once for several conversations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.batch import rows_of_step
from phoundry.training.planning.draft import Draft, make_draft
from phoundry.training.planning.rows import Rows
from tests.training.conftest import CheckpointMaker
from tests.training.drafts import make_spec

INSTRUCTION = "You are a friendly helper who answers in one short sentence and never guesses."


def _draft(checkpoint: Path, folder: Path, *, system: bool) -> Draft:
    lines: list[str] = []
    for number in range(12):
        messages = [
            {"role": "user", "content": f"What is {number} and {number}?"},
            {"role": "assistant", "content": f"It is {2 * number}."},
        ]
        if system:
            messages.insert(0, {"role": "system", "content": INSTRUCTION})
        lines.append(json.dumps({"messages": messages}) + "\n")
    path = folder / f"{system}.jsonl"
    path.write_text("".join(lines))
    return make_draft(make_spec(checkpoint, path, folder, pack_length=256))


def test_one_system_prompt_is_computed_once_a_row(
    checkpoint_maker: CheckpointMaker, tmp_path: Path
) -> None:
    with_it = _draft(checkpoint_maker("llama"), tmp_path, system=True)
    assert with_it.share
    assert with_it.computed_share < 0.7
    steps = with_it.order.steps(0)
    rows = [row for packs in steps for row in rows_of_step(packs, with_it.samples, 1024)]
    computed = sum(len(row.token_ids) for row in rows)
    assert with_it.computed_share == pytest.approx(computed / with_it.samples.tokens, abs=0.1)


def test_what_is_not_computed_is_neither_operations_nor_memory(
    checkpoint_maker: CheckpointMaker, tmp_path: Path
) -> None:
    shared = _draft(checkpoint_maker("llama"), tmp_path, system=True)
    unshared = replace(shared, share=False)
    assert unshared.computed_share == 1.0
    assert shared.flops_per_token() < unshared.flops_per_token()
    assert shared.memory(1024, recompute=False) < unshared.memory(1024, recompute=False)


def test_the_first_rows_are_those_of_the_run(
    checkpoint_maker: CheckpointMaker, tmp_path: Path
) -> None:
    draft = _draft(checkpoint_maker("llama"), tmp_path, system=True)
    steps = draft.order.steps(0)
    rows = [row for packs in steps for row in rows_of_step(packs, draft.samples, 64)]
    assert draft.rows(64) == Rows.of(rows)
    assert draft.rows(64).whole == draft.samples.tokens
    (first,) = rows_of_step(steps[0], draft.samples, 1024)
    assert replace(draft, max_steps=1).rows(1024) == Rows.of([first])


def test_memory_is_that_of_the_longest_row_not_of_the_mean(
    checkpoint_maker: CheckpointMaker, tmp_path: Path
) -> None:
    """Half of the conversations begin alike: a row of the others has as many tokens as it may."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    checkpoint = checkpoint_maker("llama")
    drafts = [_draft(checkpoint, folder, system=system) for system in (True, False)]
    texts = [(folder / f"{system}.jsonl").read_text() for system in (True, False)]
    path = folder / "both.jsonl"
    path.write_text("".join(texts))
    both = make_draft(make_spec(checkpoint, path, folder, pack_length=256))
    rows = both.rows(256)
    assert rows.longest > 1.2 * rows.computed_share * 256
    longest = max(
        len(row.token_ids)
        for packs in both.order.steps(0)
        for row in rows_of_step(packs, both.samples, 256)
    )
    assert rows.longest == longest
    assert both.rows(256).computed_share < drafts[1].rows(256).computed_share


def test_conversations_that_are_turned_by_their_own_length_share_nothing(
    checkpoint_maker: CheckpointMaker, tmp_path: Path
) -> None:
    """Longrope's angles change beyond the original context: a beginning is not the same there."""
    checkpoint = checkpoint_maker("phi3")
    config = json.loads((checkpoint / "config.json").read_text())
    half = config["hidden_size"] // config["num_attention_heads"] // 2
    config |= {
        "original_max_position_embeddings": 8,
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0] * half,
            "long_factor": [2.0] * half,
            "original_max_position_embeddings": 8,
        },
    }
    other = tmp_path / "longrope"
    other.mkdir()
    for file in checkpoint.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "config.json").write_text(json.dumps(config))
    assert not _draft(other, tmp_path, system=True).share
    assert _draft(checkpoint, tmp_path, system=True).share


@pytest.mark.parametrize(
    ("epochs", "steps"),
    [(1.5, 5), (2.0, 6), (1e-6, 1), (1e-9, 1), (1 / 3, 1), (0.1 + 0.2, 1), (2.34, 8)],
)
def test_an_epoch_that_is_begun_ends_with_a_step(epochs: float, steps: int) -> None:
    """Of three steps an epoch; transformers rounds up too."""
    assert FineTuneParameters(num_train_epochs=epochs).steps(3) == steps
    assert FineTuneParameters(num_train_epochs=epochs, max_steps=4).steps(3) == 4


def test_rounding_up_is_of_epochs_and_not_of_floats() -> None:
    assert 0.1 * 3 * 10 > 3
    assert FineTuneParameters(num_train_epochs=0.1).steps(30) == 3
