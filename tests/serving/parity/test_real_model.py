"""SmolLM2 behind llama.cpp: what is faithful passes in eight and four bits, and no other does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from phoundry.data import ChatTokenizer
from phoundry.models.convert import convert
from phoundry.models.materialize import materialize
from phoundry.serving.engines.base import EngineSpec
from phoundry.serving.engines.registry import open_engine
from phoundry.serving.parity.check import check
from phoundry.serving.parity.conversations import read_replay
from phoundry.serving.parity.reference import Reference
from phoundry.serving.parity.rendering import ReferenceTemplate
from phoundry.specs.finetune import FineTuneParameters
from phoundry.specs.parity import REPLAY_FILE, ParityReport
from phoundry.specs.quantization import Quantization
from phoundry.training.examples import read_samples
from phoundry.training.model import TunedModel
from phoundry.training.replay import write_replay
from tests.serving.parity.conftest import LocalDoor, served

pytestmark = [pytest.mark.real_model, pytest.mark.slow]
CONTEXT = 512
CHAT = {
    "What is a building permit?": "A decision of the municipality that you may build.",
    "Who founded Microsoft?": "Bill Gates and Paul Allen.",
}


def gate(folder: Path, gguf: Path, kind: Quantization, ends: Sequence[int] | None) -> ParityReport:
    tokenizer = ChatTokenizer.load(folder)
    spec = EngineSpec(
        context_length=CONTEXT,
        slots=4,
        threads=2,
        end_token_ids=frozenset(tokenizer.end_token_ids if ends is None else ends),
        gguf_path=gguf,
    )

    async def checking() -> ParityReport:
        door = LocalDoor(open_engine("llama.cpp", spec), tokenizer)
        try:
            return await check(
                served(folder, engine="llama.cpp", quantization=kind, context_length=CONTEXT),
                read_replay(folder / REPLAY_FILE),
                door,
                lambda: Reference(folder, threads=2),
                ReferenceTemplate(folder).render,
            )
        finally:
            await door.engine.close()

    return asyncio.run(checking())


def record(folder: Path, data: Path) -> None:
    """What training would keep, of a model that it did not change, in its bfloat16."""
    rows = [
        [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]
        for asked, told in CHAT.items()
    ]
    data.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    parameters = FineTuneParameters(precision="16")
    samples = read_samples(data, folder, longest=CONTEXT)
    model = TunedModel(folder, parameters)
    write_replay(folder, model, samples, data, folder, parameters, context=CONTEXT)


def test_smollm2(tmp_path: Path) -> None:
    folder, gguf = tmp_path / "model", tmp_path / "model.gguf"
    materialize("smollm2", folder, tmp_path / "cache")
    kinds: tuple[Quantization, ...] = ("Q4_0", "Q8_0")
    for kind in kinds:
        convert(folder, gguf, kind)
        report = gate(folder, gguf, kind, None)
        assert report.passed, "\n".join(report.lines())
        assert (report.source, report.conversations) == ("built-in", 6)
    record(folder, tmp_path / "data.jsonl")
    report = gate(folder, gguf, "Q8_0", None)
    assert report.passed, "\n".join(report.lines())
    assert (report.source, report.conversations) == ("training", len(CHAT))
    assert report.drift is not None
    # Four bits are not eight: what they lose is more than Q8_0 may.
    convert(folder, gguf, "Q4_0")
    assert not gate(folder, gguf, "Q8_0", None).passed
