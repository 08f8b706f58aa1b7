"""Ten thousand seeded draws of the gateway's router follow the weights, and so does a mirror."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, cast

import pytest

from phoundry.serving.gateway.mirror import Mirror
from phoundry.serving.gateway.passages import Passages
from phoundry.serving.gateway.routes import DeploymentRoute, EndpointRoute, RoutingTable
from phoundry.serving.gateway.routing import Endpoint, Router

DRAWS = 10_000
# What chi-square passes once in 1,000 times, by degrees of freedom.
LIMITS = {1: 10.8, 2: 13.8, 3: 16.3, 4: 18.5}


def router(
    seed: int, traffic: dict[str, int], mirror: dict[str, int] | None = None
) -> tuple[Router, Endpoint]:
    made = Router(random.Random(seed))
    names = {**traffic, **(mirror or {})}
    route = EndpointRoute(
        [], traffic, {name: DeploymentRoute() for name in names}, mirror=mirror or {}
    )
    made.update(RoutingTable(1, {"faq": route}))
    return made, made.endpoints["faq"]


def statistic(seen: Counter[str], shares: dict[str, int]) -> float:
    """Sum over what has a share of (seen - expected)² / expected."""
    expected = {name: DRAWS * share / 100 for name, share in shares.items() if share}
    return sum((seen[name] - count) ** 2 / count for name, count in expected.items())


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "traffic",
    [
        {"a": 50, "b": 50},
        {"a": 90, "b": 10},
        {"a": 99, "b": 1},
        {"a": 1, "b": 99},
        {"a": 34, "b": 33, "c": 33},
        {"a": 70, "b": 20, "c": 10, "d": 0},
        {"a": 96, "b": 1, "c": 1, "d": 1, "e": 1},
    ],
)
def test_draws_follow_the_weights(seed: int, traffic: dict[str, int]) -> None:
    made, endpoint = router(seed, traffic)
    seen = Counter(endpoint.choose(None, made.chance).name for _ in range(DRAWS))
    assert set(seen) == {name for name, share in traffic.items() if share}
    assert statistic(seen, traffic) < LIMITS[len(seen) - 1]


def test_one_draw_says_nothing_of_the_next() -> None:
    """Pairs of draws follow the products of the weights: no pattern that a client would meet."""
    made, endpoint = router(3, {"a": 75, "b": 25})
    names = [endpoint.choose(None, made.chance).name for _ in range(2 * DRAWS)]
    pairs = Counter(one + other for one, other in zip(names[::2], names[1::2], strict=True))
    expected = {"aa": 5625, "ab": 1875, "ba": 1875, "bb": 625}
    found = sum((pairs[pair] - count) ** 2 / count for pair, count in expected.items())
    assert found < LIMITS[3]


class Copied:
    """As much of an exchange as a mirror's draw needs."""

    copy: object = None


@pytest.mark.parametrize("percent", [1, 10, 50])
@pytest.mark.parametrize("seed", [4, 5])
def test_a_mirror_copies_its_share(seed: int, percent: int) -> None:
    made, endpoint = router(seed, {"live": 100}, {"shadow": percent})
    mirror = Mirror(Passages(), lambda _: None, lambda _: None)

    def copied() -> str:
        exchange = Copied()
        mirror.draw(cast(Any, exchange), endpoint, "/score", b"{}", made.chance)
        return "copied" if exchange.copy else "not"

    seen = Counter(copied() for _ in range(DRAWS))
    assert statistic(seen, {"copied": percent, "not": 100 - percent}) < LIMITS[1]
    assert endpoint.choose(None, made.chance).name == "live", "a mirror answers nobody"


def test_without_a_mirror_nothing_is_copied() -> None:
    made, endpoint = router(6, {"live": 100}, {"shadow": 0})
    mirror = Mirror(Passages(), lambda _: None, lambda _: None)
    exchange = Copied()
    for _ in range(100):
        mirror.draw(cast(Any, exchange), endpoint, "/score", b"{}", made.chance)
    assert exchange.copy is None
