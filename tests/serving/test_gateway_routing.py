"""Choosing a deployment, keys, and the table's file."""

from __future__ import annotations

import json
import random
import stat
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoundry.errors import InvalidInput, NotFound
from phoundry.serving.gateway.auth import KeyIndex, hash_key
from phoundry.serving.gateway.routes import (
    DeploymentRoute,
    EndpointRoute,
    ReplicaRoute,
    RoutingTable,
    load_routes,
    write_routes,
)
from phoundry.serving.gateway.routing import Router

NAMES = st.from_regex(r"[a-z][a-z0-9-]{2,8}", fullmatch=True)
REPLICAS = st.builds(
    ReplicaRoute,
    st.integers(1, 65535).map("http://127.0.0.1:{}".format),
    st.text("abcXYZ019-_", min_size=1),
)
DEPLOYMENTS = st.builds(
    DeploymentRoute,
    st.lists(REPLICAS, max_size=3),
    st.integers(1, 10**7),
    st.integers(1, 64),
)


@st.composite
def endpoints(draw: st.DrawFn) -> EndpointRoute:
    deployments = draw(st.dictionaries(NAMES, DEPLOYMENTS, max_size=3))
    traffic = {name: draw(st.integers(0, 100)) for name in deployments}
    keys = draw(st.lists(st.text(min_size=1, max_size=8), max_size=2))
    return EndpointRoute([hash_key(key) for key in keys], traffic, deployments)


TABLES = st.builds(RoutingTable, st.integers(0), st.dictionaries(NAMES, endpoints(), max_size=3))


@settings(deadline=None)
@given(TABLES)
def test_a_table_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, table: RoutingTable
) -> None:
    path = tmp_path_factory.mktemp("routes") / "routes.json"
    write_routes(path, table)
    assert load_routes(path) == table
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    Router().update(table)


def test_no_file_is_an_empty_table(tmp_path: Path) -> None:
    assert load_routes(tmp_path / "routes.json") == RoutingTable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["generation", "endpoints", "traffic", "deployments", "replicas", "url"]
            ),
            inner,
            max_size=3,
        )
    ),
)


@settings(deadline=None)
@given(JSON)
def test_anything_else_is_refused_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    path = tmp_path_factory.mktemp("routes") / "routes.json"
    path.write_text(json.dumps(value))
    try:
        table = load_routes(path)
    except InvalidInput:
        return
    Router().update(table)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:80",
        "https://127.0.0.1:80",
        "http://127.0.0.1:80/path",
        "http://user@127.0.0.1:80",
        "http://127.0.0.1.evil.example:80",
        "file:///etc/passwd",
    ],
)
def test_a_replica_is_on_loopback(tmp_path: Path, url: str) -> None:
    path = tmp_path / "routes.json"
    deployment = DeploymentRoute([ReplicaRoute(url, "secret-token")])
    write_routes(path, RoutingTable(1, {"faq": EndpointRoute([], {}, {"blue": deployment})}))
    with pytest.raises(InvalidInput) as caught:
        load_routes(path)
    assert "replicas[0].url" in str(caught.value)
    assert "secret-token" not in str(caught.value)


@settings(deadline=None)
@given(st.dictionaries(NAMES, st.integers(0, 100), min_size=1, max_size=5), st.randoms())
def test_only_deployments_with_weight_are_drawn(traffic: dict[str, int], chance: object) -> None:
    router = Router(random.Random(7))
    route = EndpointRoute([], traffic, {name: DeploymentRoute() for name in traffic})
    router.update(RoutingTable(1, {"faq": route}))
    endpoint = router.endpoints["faq"]
    if not any(traffic.values()):
        with pytest.raises(NotFound):
            endpoint.choose(None, router.chance)
        return
    drawn = {endpoint.choose(None, router.chance).name for _ in range(50)}
    assert all(traffic[name] > 0 for name in drawn)
    for name in traffic:
        assert endpoint.choose(name, router.chance).name == name


def test_draws_follow_the_weights() -> None:
    router = Router(random.Random(11))
    traffic = {"a": 70, "b": 20, "c": 10, "d": 0}
    route = EndpointRoute([], traffic, {name: DeploymentRoute() for name in traffic})
    router.update(RoutingTable(1, {"faq": route}))
    seen = Counter(router.endpoints["faq"].choose(None, router.chance).name for _ in range(10_000))
    statistic = sum((seen[n] - 100 * w) ** 2 / (100 * w) for n, w in traffic.items() if w)
    assert statistic < 13.8  # chi-square, two degrees of freedom, 0.1 %
    assert "d" not in seen


def test_a_limiter_outlives_a_change_of_the_table() -> None:
    router = Router()
    route = EndpointRoute([], {"blue": 100}, {"blue": DeploymentRoute(max_concurrent=2)})
    router.update(RoutingTable(1, {"faq": route}))
    before = router.endpoints["faq"].deployments["blue"].limiter
    router.update(RoutingTable(2, {"faq": replace(route, key_hashes=[hash_key("k")])}))
    assert router.endpoints["faq"].deployments["blue"].limiter is before


@settings(deadline=None)
@given(st.dictionaries(NAMES, st.sets(st.text(max_size=4), max_size=3), max_size=4), st.text())
def test_a_key_opens_exactly_the_endpoints_that_hold_its_hash(
    keys: dict[str, set[str]], other: str
) -> None:
    index = KeyIndex({name: [hash_key(key) for key in held] for name, held in keys.items()})
    for key in {other}.union(*keys.values()):
        owners = {name for name, held in keys.items() if key in held}
        assert index.endpoints_of(key.encode()) == owners
