"""The whole check on a tiny model that was trained: what passes, and what is caught."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from phoundry.data import ChatMessage, ChatTokenizer
from phoundry.errors import ModelError
from phoundry.files import read_json, write_json
from phoundry.serving.parity.check import Served, check
from phoundry.serving.parity.conversations import read_replay
from phoundry.serving.parity.reference import Reference
from phoundry.serving.parity.rendering import ReferenceTemplate
from phoundry.serving.parity.steps import Said
from phoundry.specs.finetune import FineTuneParameters
from phoundry.specs.parity import JUDGED_TOKENS, REPLAY_FILE, ParityReport
from phoundry.training.examples import Sample
from phoundry.training.replay import write_replay
from tests.serving.parity.conftest import (
    FACTS,
    LocalDoor,
    Tuned,
    copy_of,
    registered,
    served,
    transformers_door,
)


def run(
    checkpoint: Path,
    door: LocalDoor | None = None,
    reference: type[Reference] = Reference,
    **changes: Any,
) -> ParityReport:
    """The gate of `checkpoint` behind `door` (unless given: the engine transformers on it)."""
    replay = read_replay(checkpoint / REPLAY_FILE)

    async def checking() -> ParityReport:
        where = door or transformers_door(checkpoint)
        try:
            return await check(
                served(checkpoint, **changes),
                replay,
                where,
                lambda: reference(checkpoint, threads=1),
                lambda messages, tools: ReferenceTemplate(checkpoint).render(messages, tools),
            )
        finally:
            await where.engine.close()

    return asyncio.run(checking())


def test_what_was_trained_passes(tuned: Tuned) -> None:
    report = run(tuned.merged)
    assert report.passed, "\n".join(report.lines())
    assert (report.source, report.conversations) == ("training", len(FACTS))
    assert report.agreed == report.steps > 2 * len(FACTS)
    assert report.reference == "transformers, float32"


def test_training_kept_what_it_saw(tuned: Tuned) -> None:
    replay = read_replay(tuned.merged / REPLAY_FILE)
    assert replay is not None
    asked = [each.messages[-1]["content"] for each in replay.conversations]
    assert asked == [f"{colour}?" for colour in FACTS]
    for each in replay.conversations:
        assert each.answer_ids[-1] in replay.end_token_ids
        assert each.greedy_ids == each.answer_ids  # learnt by heart
        assert each.loss_mask.rstrip("0") == "0" * each.prompt_tokens + "1" * len(each.answer_ids)


def test_a_changed_chat_template_is_caught(tuned: Tuned, tmp_path: Path) -> None:
    changed = copy_of(tuned.merged, tmp_path / "changed")
    template = changed / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|user|>\n", "<|user|>"))
    report = run(tuned.merged, transformers_door(changed))
    assert not report.passed
    prompts = [each for each in report.differences if each.kind == "prompt"]
    assert len(prompts) == len(FACTS)
    assert "the prompt is not training's from token 2 on" in prompts[0].message
    assert prompts[0].expected_ids != prompts[0].found_ids
    assert "<|user|>" in prompts[0].expected


def test_a_missing_end_token_is_caught(tuned: Tuned, tmp_path: Path) -> None:
    """The engine does not know `<|end|>` for an end, and says it as if it were text."""
    report = run(tuned.merged, transformers_door(tuned.merged, ends=[]))
    assert not report.passed
    ends = [each for each in report.differences if each.kind == "end"]
    assert len(ends) >= len(FACTS)
    assert "says the end token '<|end|>' and goes on" in ends[0].message
    # So is one that is gone from the served files: training's record still has it.
    gone = copy_of(tuned.merged, tmp_path / "gone", generation_config={"eos_token_id": 1})
    text = (gone / "chat_template.jinja").read_text()
    answer = "message['content'] + '<|end|>\n'}}{% endif %}"
    assert answer in text
    (gone / "chat_template.jinja").write_text(
        text.replace(answer, "message['content']}}{% endif %}")
    )
    assert not run(gone).passed


def test_an_answer_that_ends_too_early_is_caught(tuned: Tuned) -> None:
    replay = read_replay(tuned.merged / REPLAY_FILE)
    assert replay is not None
    first = replay.conversations[0].answer_ids[0]
    report = run(tuned.merged, transformers_door(tuned.merged, ends=[first]))
    assert "the engine ends; the reference goes on with" in report.differences[0].message


@pytest.mark.parametrize("alpha", [4, 48])
def test_an_adapter_merged_with_another_weight_is_caught(
    tuned: Tuned, tmp_path: Path, alpha: int
) -> None:
    """Engine and reference agree on the wrong model: only training's record tells."""
    adapter = copy_of(tuned.adapter, tmp_path / "adapter", adapter_config={"lora_alpha": alpha})
    write_json(tmp_path / REPLAY_FILE, read_json(tuned.merged / REPLAY_FILE))
    _caught_by_the_record(run(registered(tuned.base, adapter, tmp_path / "merged")))


def test_a_layer_that_was_scaled_is_caught(tuned: Tuned, tmp_path: Path) -> None:
    broken = copy_of(tuned.merged, tmp_path / "broken")
    (file,) = broken.glob("*.safetensors")
    tensors = load_file(file)
    tensors["model.layers.1.mlp.down_proj.weight"] *= 1.2
    save_file(tensors, file, metadata={"format": "pt"})
    _caught_by_the_record(run(broken))


def _caught_by_the_record(report: ParityReport) -> None:
    assert not report.passed
    assert {each.kind for each in report.differences} == {"training"}
    assert "the registered model is not the tuned one" in report.differences[-1].message
    assert report.drift is not None
    assert report.drift > 1


def test_another_model_behind_the_door_is_caught(tuned: Tuned) -> None:
    report = run(tuned.merged, transformers_door(tuned.base))
    assert not report.passed
    assert report.differences[0].behind > report.differences[0].limit  # type: ignore[operator]


def test_a_model_from_elsewhere_meets_transformers_own_rendering(tuned: Tuned) -> None:
    report = run(tuned.base)
    assert report.passed, "\n".join(report.lines())
    assert report.source == "built-in"
    assert report.conversations >= 5


def test_of_a_long_learnt_answer_the_beginning_is_judged(
    tuned: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place costs the logits of the whole vocabulary, in training and in the gate."""
    monkeypatch.setattr("phoundry.serving.parity.check.JUDGED_TOKENS", 2)
    judged: list[int] = []

    class Counting(Reference):
        def places(self, *args: Any, **named: Any) -> Any:
            judged.append(len(args[2]))
            return super().places(*args, **named)

    report = run(tuned.merged, reference=Counting)
    assert report.passed, "\n".join(report.lines())
    assert judged[1::2] == [2] * len(FACTS)


class Fluent:
    """A tuned model; `asked`: of how many places."""

    asked = 0

    def likeliest(self, token_ids: Sequence[int], start: int) -> tuple[list[int], list[float]]:
        self.asked = len(token_ids) - start
        return [1] * self.asked, [1.0] * self.asked


def test_training_keeps_no_more_of_an_answer_than_is_judged(tuned: Tuned, tmp_path: Path) -> None:
    tokenizer, model = ChatTokenizer.load(tuned.base), Fluent()
    row: list[ChatMessage] = [
        {"role": "user", "content": "red?"},
        {"role": "assistant", "content": "Apples. " * JUDGED_TOKENS},
    ]
    data = tmp_path / "long.jsonl"
    data.write_text(json.dumps({"messages": row}) + "\n")
    rendered = tokenizer.render_example(row, None)
    samples: Any = [Sample(rendered.token_ids, [bool(each) for each in rendered.loss_mask])]
    parameters = FineTuneParameters()
    write_replay(tmp_path, model, samples, data, tuned.base, parameters, context=9999)
    replay = read_replay(tmp_path / REPLAY_FILE)
    assert replay is not None
    assert model.asked == len(replay.conversations[0].answer_ids) == JUDGED_TOKENS


class Queue:
    """A replica whose answers take a turn of the loop, and how many waited for one at once."""

    waiting = most = 0

    async def render(self, messages: Any, tools: Any) -> list[int]:
        await self._turn()
        return [1, 2, 3]

    async def generate(self, prompt_ids: Sequence[int], max_tokens: int) -> Said:
        await self._turn()
        return Said((4,), True)

    async def _turn(self) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1


def test_the_replica_is_asked_one_at_a_time() -> None:
    """A slow machine then has the whole patience for each."""

    class Enough(Exception): ...

    def load() -> Any:
        raise Enough

    door = Queue()
    what = Served("llama.cpp", "Q8_0", 64, frozenset({5}), str)
    with pytest.raises(Enough):
        asyncio.run(check(what, None, door, load, lambda messages, tools: [1, 2, 3]))
    assert door.most == 1


def test_nothing_that_fits_proves_nothing(tuned: Tuned) -> None:
    with pytest.raises(ModelError, match="None of 4 conversations fits the 3 tokens"):
        run(tuned.merged, context_length=3)
