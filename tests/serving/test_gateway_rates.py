"""The token bucket against a slow, obvious one; what a refusal promises; memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.serving.errors import response_headers
from phoundry.serving.gateway.rates import RateLimit, RateLimited, renewed


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def admitted(limit: RateLimit, key: bytes = b"key") -> bool:
    try:
        limit.admit(key)
    except RateLimited:
        return False
    return True


@given(
    st.integers(1, 2000),
    st.lists(st.sampled_from([0.0, 0.001, 0.03, 0.5, 1.0, 7.0, 61.0]), max_size=60),
)
def test_it_admits_what_a_counted_bucket_admits(per_minute: int, pauses: list[float]) -> None:
    clock = Clock()
    limit = RateLimit("faq", per_minute, clock)
    depth = max(1, per_minute // 10)
    level = float(depth)
    for pause in pauses:
        clock.now += pause
        level = min(depth, level + pause * per_minute / 60)
        if abs(level - round(level)) < 1e-6:  # on the edge, sums of floats may fall either way
            level = float(round(level))
        expected = level >= 1
        assert admitted(limit) == expected
        level -= expected


@given(st.integers(1, 2000), st.integers(1, 40))
def test_a_refused_key_is_let_in_when_it_was_told(per_minute: int, more: int) -> None:
    clock = Clock()
    limit = RateLimit("faq", per_minute, clock)
    for _ in range(max(1, per_minute // 10)):
        assert admitted(limit)
    assert not any(admitted(limit) for _ in range(more))  # refusals cost nothing
    with pytest.raises(RateLimited) as caught:
        limit.admit(b"key")
    assert response_headers(caught.value) == [
        (b"retry-after", str(caught.value.retry_after).encode())
    ]
    assert caught.value.retry_after >= 1
    assert f"{per_minute:,} requests a minute" in caught.value.message
    assert "endpoint update faq --rate-limit" in str(caught.value)
    clock.now += caught.value.retry_after
    assert admitted(limit)


def test_keys_do_not_use_up_each_others() -> None:
    limit = RateLimit("faq", 1, Clock())
    assert admitted(limit, b"one")
    assert not admitted(limit, b"one")
    assert admitted(limit, b"two")


def test_what_was_used_counts_under_a_new_limit() -> None:
    clock = Clock()
    limit = RateLimit("faq", 600, clock)
    while admitted(limit):
        pass
    limit.resize(60)
    assert not admitted(limit)
    clock.now += 6
    assert [admitted(limit) for _ in range(7)] == [True] * 6 + [False]


def test_a_limit_outlives_a_table_that_keeps_it() -> None:
    limit = renewed(None, "faq", 1)
    assert limit is not None
    assert admitted(limit)
    assert renewed(limit, "faq", 1) is limit
    assert not admitted(limit)
    assert renewed(limit, "faq", None) is None


def test_keys_that_rest_are_forgotten() -> None:
    clock = Clock()
    limit = RateLimit("faq", 600, clock)
    for number in range(20_000):
        clock.now += 0.02  # each rests long before the last one comes
        limit.admit(str(number).encode())
    assert len(limit._full_at) <= 1024  # pyright: ignore[reportPrivateUsage] - the bound itself
