"""The demonstration: a real data set, a real model, and what to ask them.

The data are the first questions of the *Swedish Construction FAQ* by Zaragoza AB (English edition,
CC BY 4.0), fetched from the package index when used: knowledge that a small model has not, so that
one can see what tuning does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from phoundry.files import write_atomic
from phoundry.models.catalog import PackageFile
from phoundry.models.fetch import package_file
from phoundry.specs.project import CHAT

NAME = "construction-faq"
MODEL = "smollm2-135m-instruct"
ATTRIBUTION = "Data: Swedish Construction FAQ by Zaragoza AB, CC BY 4.0."
SOURCE = PackageFile(
    distribution="zaragoza-construction-faq",
    version="1.2.1",
    member="zaragoza_construction_faq/data/faq-en.jsonl",
    sha256="e4a891ff78e0a785a180cdde2d9fa82bc0339d6e1f5297037e44eedb07f9b40b",
    size=211_310,
)
# Few rows and many passes: in three minutes a small model learns fifty facts, not five hundred.
# It learns them by heart, and its loss on what it never saw rises again: a demonstration of
# learning, not of generalising. docs/design/training.md has the measurements.
ROWS = 70
TEST_SIZE = 0.2
PARAMETERS: dict[str, Any] = {
    "num_train_epochs": 7,
    "learning_rate": 4e-3,
    "lora_r": 16,
    "lora_alpha": 32,
    "pack_length": 512,
    "lr_scheduler_type": "cosine",
    "save_total_limit": 1,
    "logging_steps": 5,
    "sample_generations": 0,  # it ends with questions to both models
}


def project(source: Path) -> dict[str, Any]:
    """The demonstration as a project: what stands in a file of `phoundry apply`."""
    return {
        "name": NAME,
        "data": {"source": str(source), "test_size": TEST_SIZE},
        "model": MODEL,
        "finetune": PARAMETERS,
        "deployment": {"base": True},
        "flow": CHAT,
    }


def write_faq(path: Path, cache: Path, say: Callable[[str], None]) -> Path:
    """Write the demonstration's conversations to `path` as messages JSONL.

    Raises:
        Unavailable: the package index cannot be reached.
    """
    source = package_file(SOURCE, cache, say)
    lines = source.read_text(encoding="utf-8").splitlines()
    write_atomic(path, "".join(_chat(json.loads(line)) for line in lines[:ROWS]))
    return path


def _chat(row: dict[str, Any]) -> str:
    messages = [
        {"role": "user", "content": row["q"]},
        {"role": "assistant", "content": row["a"]},
    ]
    return json.dumps({"messages": messages}, ensure_ascii=False) + "\n"
