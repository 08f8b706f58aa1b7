"""A tiny Phi-3 that was really fine-tuned, and a replica's door without a process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from phoundry.data import ChatMessage, ChatTokenizer
from phoundry.errors import InvalidInput
from phoundry.files import read_json, write_json
from phoundry.models.merge import merge
from phoundry.serving.engines.base import Engine, EngineSpec, SamplingParams
from phoundry.serving.engines.registry import open_engine
from phoundry.serving.parity.check import Served
from phoundry.serving.parity.steps import Said
from phoundry.specs.finetune import FineTuneParameters
from phoundry.specs.parity import REPLAY_FILE
from phoundry.training.checkpoints.folder import CheckpointFolder
from phoundry.training.loop import train
from phoundry.training.spec import TrainingSpec
from tests.support.checkpoints import build

FACTS = {"red": "Apples.", "green": "Pears.", "blue": "Plums.", "gold": "Corn."}
CONTEXT = 256


class Quiet:
    def event(self, kind: str, **data: Any) -> None: ...
    def line(self, text: str) -> None: ...


@dataclass(frozen=True)
class Tuned:
    """`base` and `adapter` as training left them; `merged`: the registered model."""

    base: Path
    adapter: Path
    merged: Path


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Learnt by heart, so that its answers end: a random model's never do."""
    root = tmp_path_factory.mktemp("tuned")
    base, data = root / "base", root / "colours.jsonl"
    build("phi3", base, max_position_embeddings=CONTEXT)
    rows = [
        [{"role": "user", "content": f"{colour}?"}, {"role": "assistant", "content": fruit}]
        for colour, fruit in FACTS.items()
    ]
    data.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    parameters = FineTuneParameters(
        apply_lora=True,
        lora_r=8,
        lora_alpha=16,
        lora_dropout=0.0,
        learning_rate=2e-2,
        num_train_epochs=30,
        precision="32",
        packing=True,
        evaluation_strategy="disable",
    )
    spec = TrainingSpec(base, data, parameters, root / "output")
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:  # threads of so small products only wait
        patch.setattr("phoundry.training.machine.cores", lambda: 1)
        result = train(spec, Quiet(), CheckpointFolder(root / "checkpoints", keep=1))
    torch.set_num_threads(before)
    return Tuned(base, result.output, registered(base, result.output, root / "merged"))


def registered(base: Path, adapter: Path, folder: Path) -> Path:
    """Merged, with what training left for the gate: as registration does."""
    folder.mkdir()
    merge(base, adapter, folder)
    shutil.copyfile(adapter.parent / REPLAY_FILE, folder / REPLAY_FILE)
    return folder


def copy_of(checkpoint: Path, folder: Path, **configs: dict[str, Any]) -> Path:
    """A copy with other values in its JSON files: `generation_config={…}`."""
    shutil.copytree(checkpoint, folder)
    for name, changes in configs.items():
        path = folder / f"{name}.json"
        write_json(path, {**read_json(path), **changes})
    return folder


class LocalDoor:
    """An engine and a renderer in this process. `ends`: the tokens that end an answer there."""

    def __init__(self, engine: Engine, tokenizer: ChatTokenizer) -> None:
        self.engine, self.tokenizer = engine, tokenizer

    async def render(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None
    ) -> list[int] | None:
        chat: list[ChatMessage] = [ChatMessage(**message) for message in messages]
        try:
            return self.tokenizer.render_prompt(chat, tools)
        except InvalidInput:
            return None

    async def generate(self, prompt_ids: Sequence[int], max_tokens: int) -> Said:
        ids: list[int] = []
        reason = None
        params = SamplingParams(max_tokens=max_tokens, exact_ids=True)
        async with aclosing(self.engine.generate(list(prompt_ids), params)) as deltas:
            async for delta in deltas:
                ids += delta.token_ids
                reason = delta.finish_reason
        return Said(tuple(ids), reason == "stop")


def transformers_door(checkpoint: Path, *, ends: Sequence[int] | None = None) -> LocalDoor:
    """The engine transformers on `checkpoint`, in the checkpoint's own bfloat16."""
    tokenizer = ChatTokenizer.load(checkpoint)
    spec = EngineSpec(
        context_length=CONTEXT,
        slots=1,
        threads=1,
        end_token_ids=frozenset(tokenizer.end_token_ids if ends is None else ends),
        checkpoint_dir=checkpoint,
        tokenizer_dir=checkpoint,
    )
    return LocalDoor(open_engine("transformers", spec), tokenizer)


def served(checkpoint: Path, **changes: Any) -> Served:
    tokenizer = ChatTokenizer.load(checkpoint)
    values: dict[str, Any] = {
        "engine": "transformers",
        "quantization": None,
        "context_length": CONTEXT,
        "end_ids": frozenset(tokenizer.end_token_ids),
        "text": lambda token: tokenizer.decode([token], skip_special=False),
    }
    return Served(**{**values, **changes})
