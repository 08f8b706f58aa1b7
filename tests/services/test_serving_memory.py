"""What a replica needs, and that the cache of every slot counts."""

from __future__ import annotations

import pytest

from phoundry.errors import InsufficientResources
from phoundry.models.catalog import find
from phoundry.services import serving_memory


def config(name: str) -> dict[str, object]:
    entry = find(name)
    assert entry
    return dict(entry.config)


def test_the_cache_of_every_slot_counts() -> None:
    phi = config("phi-3-mini-4k-instruct")
    one = serving_memory.llama_cpp(phi, 4_000_000_000, 4096, slots=1)
    four = serving_memory.llama_cpp(phi, 4_000_000_000, 4096, slots=4)
    # keys and values, 2 bytes a number: 32 layers of 32 heads of 96, for 4,096 tokens
    assert four - one == 3 * (2 * 2 * 32 * 32 * 96 * 4096)


def test_a_shorter_context_needs_less() -> None:
    smol = config("smollm2-135m-instruct")
    long = serving_memory.transformers(smol, 270_000_000, 8192)
    assert serving_memory.transformers(smol, 270_000_000, 1024) < long


def test_what_does_not_fit_is_refused_with_both_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOUNDRY_MEMORY_LIMIT", "6000000000")
    phi = config("phi-3-mini-4k-instruct")
    needed = serving_memory.llama_cpp(phi, 4_000_000_000, 4096, serving_memory.FEWEST)
    with pytest.raises(InsufficientResources, match=r"takes about 10\.\d GB.*6\.0 GB are free"):
        serving_memory.check("phi-3-mini-4k-instruct", needed)
    serving_memory.check("smaller", 5_000_000_000)


@pytest.mark.parametrize(
    ("name", "context", "asked", "slots"),
    [
        ("smollm2-135m-instruct", 4096, 8, 8),  # 94 MB of caches each
        ("smollm2-135m-instruct", 4096, 64, 10),
        ("smollm2-135m-instruct", 2048, 64, 16),
        ("smollm2-135m-instruct", 4096, 2, 2),
        ("phi-3-mini-4k-instruct", 4096, 8, 4),  # 1.6 GB each
        ("phi-3-mini-4k-instruct", 4096, 3, 3),
    ],
)
def test_conversations_decoded_together(name: str, context: int, asked: int, slots: int) -> None:
    settings = {"max_concurrent_requests_per_instance": asked}
    found = serving_memory.slots(settings, config(name), context)
    assert found == slots
    assert found <= serving_memory.most_slots(settings)
    each = serving_memory.llama_cpp(config(name), 0, context, 2)
    each -= serving_memory.llama_cpp(config(name), 0, context, 1)
    assert found <= serving_memory.FEWEST or found * each <= serving_memory.CACHES
