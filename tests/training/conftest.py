"""Tiny random models of the architectures, saved as checkpoints, and tiny data."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from phoundry.training.examples import Sample
from tests.support.tiny_tokenizer import make_tiny_tokenizer

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    # Larger than the default, so that the loss and its gradients are far from trivial.
    "initializer_range": 0.2,
}
# What a kind has of its own: windows shorter than the longest conversation of the tests.
OWN: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 6},
    "gemma3_text": {
        "head_dim": 8,
        "query_pre_attn_scalar": 12,  # another one than the head's width
        "num_hidden_layers": 7,
        "sliding_window": 6,
    },
}
CheckpointMaker = Callable[..., Path]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the loop take one thread: tiny products gain nothing by a second, and on a machine
    that is shared the threads would mostly wait for each other."""
    monkeypatch.setattr("phoundry.training.machine.cores", lambda: 1)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random weights are the same whatever ran before, in any order of tests."""
    torch.manual_seed(2)


@pytest.fixture(scope="session")
def checkpoint_maker(tmp_path_factory: pytest.TempPathFactory) -> CheckpointMaker:
    return checkpoints_in(tmp_path_factory)


def checkpoints_in(tmp_path_factory: pytest.TempPathFactory) -> CheckpointMaker:
    """`make("llama" | "phi3" | …, tied=…)`: a checkpoint folder, made once a session.

    Torch's random numbers go on as if nothing had been made: a test that seeds, and then asks for
    a checkpoint, gets the same whether or not it is the first to ask for it.
    """
    made: dict[tuple[str, bool], Path] = {}

    def make(kind: str, *, tied: bool = False) -> Path:
        if (kind, tied) not in made:
            folder = tmp_path_factory.mktemp(f"{kind}-{tied}")
            with torch.random.fork_rng(devices=[]):
                made[kind, tied] = _save_model(folder, kind, tied)
        return made[kind, tied]

    return make


def _save_model(folder: Path, kind: str, tied: bool) -> Path:
    style = "phi3" if kind == "phi3" else "chatml"
    tokenizer = make_tiny_tokenizer(folder, style=style)
    ids = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_ids}
    common = {
        **SIZES,
        **ids,
        "vocab_size": tokenizer.vocab_size,
        "pad_token_id": tokenizer.pad_id,
        "tie_word_embeddings": tied,
    }
    torch.manual_seed(7)
    model: Any = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, **{**common, **OWN.get(kind, {})})
    )
    with torch.no_grad():  # norms begin as ones or zeros, which would hide mistakes
        for name, weight in model.named_parameters():
            if "norm" in name and kind in OWN:
                weight.add_(0.2 * torch.randn(weight.shape))
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def samples() -> list[Sample]:
    """Conversations of random tokens with a random half supervised."""
    chooser = random.Random(3)
    made: list[Sample] = []
    for length in (5, 17, 9, 30, 2, 12):
        ids = [chooser.randrange(300) for _ in range(length)]
        supervised = [False, *(chooser.random() < 0.5 for _ in range(length - 2)), True]
        made.append(Sample(ids, supervised))
    return made


WORDS = [
    *("permit", "building", "weeks", "Paris", "France", "takes"),
    *("ten", "long", "answer", "who", "founded", "Microsoft"),
]


@pytest.fixture
def messages_file(tmp_path: Path) -> Callable[..., Path]:
    """`write(count, seed=…, name=…)`: a messages file of `count` short random conversations."""

    def write(count: int, *, seed: int = 0, name: str = "train.jsonl") -> Path:
        chooser = random.Random(seed)
        path = tmp_path / name
        with path.open("w", encoding="utf-8") as file:
            for _ in range(count):
                asked = " ".join(chooser.choices(WORDS, k=chooser.randint(2, 6)))
                told = " ".join(chooser.choices(WORDS, k=chooser.randint(2, 9)))
                turns = [
                    {"role": "user", "content": asked},
                    {"role": "assistant", "content": told},
                ]
                file.write(json.dumps({"messages": turns}) + "\n")
        return path

    return write


class Recorder:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.lines: list[str] = []

    def event(self, kind: str, **data: Any) -> None:
        self.events.append((kind, data))

    def line(self, text: str) -> None:
        self.lines.append(text)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [data for name, data in self.events if name == kind]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
