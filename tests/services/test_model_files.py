"""A model's files, for somewhere else: what is missing is made first."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.errors import NotFound, PhoundryError
from phoundry.services import model_files
from phoundry.services.context import Context
from phoundry.services.reconcile import tasks
from phoundry.specs.model import ModelFiles
from phoundry.specs.quantization import Quantization
from tests.services.fake_workers import MODEL, FakeWorkers


def made(context: Context, fleet: FakeWorkers, kind: Quantization | None) -> ModelFiles:
    """Ask again until the files are there."""
    for _ in range(4):
        found = model_files.files(context, MODEL, kind)
        if found.path:
            return found
        fleet.work()
        tasks.tick(context)
    raise AssertionError("the files never came")


def test_a_base_model_is_fetched_and_its_folder_told(context: Context, fleet: FakeWorkers) -> None:
    first = model_files.files(context, MODEL)
    assert first.path is None
    found = made(context, fleet, None)
    assert (found.format, found.quantization) == ("huggingface", None)
    assert (Path(str(found.path)) / "config.json").exists()
    assert found.bytes > 0


def test_a_gguf_is_made_once(context: Context, fleet: FakeWorkers) -> None:
    found = made(context, fleet, "Q4_0")
    assert str(found.path).endswith("-Q4_0.gguf")
    assert found.bytes == Path(str(found.path)).stat().st_size
    assert made(context, fleet, "Q4_0") == found
    assert [start.module for start in fleet.starts] == [
        "phoundry.models.materialize",
        "phoundry.models.convert",
    ]


def test_a_failed_conversion_is_said_and_then_tried_again(
    context: Context, fleet: FakeWorkers
) -> None:
    made(context, fleet, None)
    model_files.files(context, MODEL, "Q8_0")
    fleet.end(fleet.one("convert"), "failed")
    tasks.tick(context)
    with pytest.raises(PhoundryError):
        model_files.files(context, MODEL, "Q8_0")
    assert made(context, fleet, "Q8_0").path


def test_a_name_that_stands_for_nothing(context: Context) -> None:
    with pytest.raises(NotFound, match="smollm"):
        model_files.files(context, "smollm-135")
