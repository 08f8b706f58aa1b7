"""Base models as the services tell them: needs, and whether this machine has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import InvalidInput, NotFound
from phoundry.models import describe
from phoundry.models.catalog import CATALOG, cache_bytes, resolve
from phoundry.services import bases, catalog
from phoundry.services.catalog import Machine, judge, needs
from phoundry.services.context import Context
from phoundry.specs.finetune import FineTuneParameters
from phoundry.training.planning.estimate import ModelShape, estimate_memory

GB = 10**9
LARGE = Machine(memory_free=1000 * GB, memory=1000 * GB, disk_free=1000 * GB)


def needed(name: str, **lengths: Any) -> Any:
    source = resolve(name)
    assert source.entry
    described = describe.of_entry(source.entry)
    assert described.config
    return needs(described.config, described.view, LARGE, **lengths)


@pytest.mark.parametrize(
    ("size", "free", "total", "fits", "missing"),
    [
        (8, 10, 20, "yes", 0),
        (9, 10, 20, "yes", 0),
        (10, 10, 20, "tight", 0),
        (15, 10, 20, "tight", 5),
        (20, 10, 20, "tight", 10),
        (21, 10, 20, "no", 1),
    ],
)
def test_what_fits(size: int, free: int, total: int, fits: str, missing: int) -> None:
    need = judge(size, free, total)
    assert (need.fits, need.missing_bytes) == (fits, missing)


def test_a_limit_of_the_user_is_the_machine(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOUNDRY_MEMORY_LIMIT", str(GB))
    small, large = catalog.show(context, "smollm2"), catalog.show(context, "mistral")
    assert small.needs
    assert large.needs
    assert large.needs.serve_q8_0.fits == "no"
    assert large.needs.serve_q8_0.missing_bytes == large.needs.serve_q8_0.bytes - GB
    assert small.needs.train_lora.fits == "no"  # more than the limit, whatever the machine has


def test_training_is_what_the_trainer_estimates() -> None:
    """The catalog and the check of a job must never tell two numbers."""
    found = needed("smollm2", max_seq_length=1024)
    config = dict(resolve("smollm2").entry.config)  # type: ignore[union-attr]
    recommended = describe.of_entry(CATALOG[0]).view.recommended
    values = {**recommended, "precision": found.precision}
    lora = FineTuneParameters.model_validate(values)
    full = FineTuneParameters.model_validate({**values, "apply_lora": False})
    shape = ModelShape.from_config(config)
    assert found.train_lora.bytes == estimate_memory(shape, lora, row_tokens=1024)
    assert found.train_full.bytes == estimate_memory(shape, full, row_tokens=1024)


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_the_order_of_what_is_needed(entry: Any) -> None:
    found = needed(entry.name)
    assert found.train_qlora.bytes < found.train_lora.bytes < found.train_full.bytes
    assert found.disk.bytes > found.serve_q8_0.bytes - 4 * cache_bytes(entry.config, 4096) - GB
    longer = needed(entry.name, max_seq_length=4096, context_length=8192)
    assert longer.train_lora.bytes > found.train_lora.bytes
    assert longer.serve_bf16.bytes > found.serve_bf16.bytes


def test_serving_counts_the_cache_of_every_conversation() -> None:
    short, long = needed("phi-3", context_length=1000), needed("phi-3", context_length=3000)
    assert short.conversations == 4
    per_token = 2 * 2 * 32 * 32 * 96  # keys and values, float16, layers, heads, head size
    assert long.serve_q8_0.bytes - short.serve_q8_0.bytes == 4 * 2000 * per_token
    assert long.serve_bf16.bytes - short.serve_bf16.bytes == 2000 * per_token


def test_the_package_that_ships_a_model_counts_on_the_disk() -> None:
    found = needed("smollm2")
    package = resolve("smollm2").entry.package  # type: ignore[union-attr]
    assert package
    assert found.disk.bytes == package.size + round(134_515_008 * (2 * 2 + 34 / 32))


@pytest.mark.parametrize(
    "lengths", [{"max_seq_length": 0}, {"context_length": -1}, {"context_length": 8193}]
)
def test_a_length_that_the_model_does_not_take(context: Context, lengths: Any) -> None:
    with pytest.raises(InvalidInput, match="takes from 1 to 8,192 tokens"):
        catalog.show(context, "smollm2", **lengths)


def test_listing_and_searching(context: Context) -> None:
    assert [model.name for model in catalog.listing(context)] == [each.name for each in CATALOG]
    assert all(model.needs for model in catalog.listing(context))
    assert [model.name for model in catalog.listing(context, "qwen 4b")] == ["qwen3-4b"]
    assert catalog.listing(context, "nothing-like-it") == []


def test_what_cannot_be_used_is_refused_before_anything_starts(context: Context) -> None:
    assert catalog.show(context, "gemma3:4b").usable is False
    with context.begin("models/read") as session:
        with pytest.raises(InvalidInput, match="mixes text with images"):
            bases.check(session, context, "gemma3:4b")
        config = bases.config(session, context, "phi-3")
    assert config
    assert config["hidden_size"] == 3072


def test_unknown_names(context: Context, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Did you mean phi-3-mini-4k-instruct"):
        catalog.show(context, "phi-3-mini-4k-instrct")
    with pytest.raises(NotFound, match="There is no file or folder"):
        catalog.show(context, str(tmp_path / "none.gguf"))
