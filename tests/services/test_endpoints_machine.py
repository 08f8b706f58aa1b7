"""Endpoints against a small model: whatever is asked and whatever breaks, in whatever order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from phoundry.errors import Conflict, InvalidInput, NotFound
from phoundry.services import deployments, endpoints
from phoundry.specs.deployment import DeploymentSpec, DeploymentUpdate
from phoundry.specs.endpoint import EndpointSpec, EndpointUpdate
from phoundry.specs.scaling import ScaleSettings
from tests.services.endpoint_world import World
from tests.services.fake_workers import MODEL

# What a row may become in one step; nothing else, ever.
EDGES = {
    "replica": {
        "waiting": {"starting", "failed", "crashed", "draining"},
        "starting": {"ready", "crashed", "failed", "draining"},
        "ready": {"unready", "crashed", "failed", "draining"},
        "unready": {"ready", "crashed", "failed", "draining"},
        "crashed": {"waiting", "failed", "draining"},
        "failed": {"waiting", "draining"},
        "draining": set[str](),
    },
    "deployment": {
        "Creating": {"Succeeded", "Failed", "Deleting"},
        "Succeeded": {"Updating", "Failed", "Deleting"},
        "Updating": {"Succeeded", "Failed", "Deleting"},
        "Failed": {"Creating", "Succeeded", "Deleting"},
        "Deleting": set[str](),
    },
}
SCALE = ScaleSettings(
    type="target_utilization",
    min_instances=0,
    max_instances=3,
    target_utilization_percentage=100,
    idle_time_before_scale_down=20,
)
ENDPOINTS = st.sampled_from(["one-bot", "two-bot"])
NAMES = st.sampled_from(["blue", "green"])
COUNTS = st.integers(1, 3)
ANY = st.integers(0, 11)  # one of those that there are


@dataclass
class Expected:
    """An endpoint of the model. `counts`: replicas of each deployment; None: by load."""

    counts: dict[str, int | None] = field(default_factory=dict[str, int | None])
    traffic: dict[str, int] = field(default_factory=dict[str, int])
    mirror: dict[str, int] = field(default_factory=dict[str, int])
    going: set[str] = field(default_factory=set[str])  # asked to be deleted


class Endpoints(RuleBasedStateMachine):
    """What a user asks (verbs), what breaks (processes, probes, the control plane), and rounds of
    the reconciler between them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.model: dict[str, Expected] = {}
        self.going: set[str] = set()  # endpoints that were deleted

    def teardown(self) -> None:
        try:
            self.world.settle()
            self.agree()
            self.at_rest()
        finally:
            self.world.close()

    # What is asked

    @initialize(count=COUNTS, green=st.booleans())
    def begin(self, count: int, green: bool) -> None:
        self.create("one-bot")
        self.deploy("one-bot", "blue", count, False)
        if green:
            self.deploy("one-bot", "green", count, True)
        for _ in range(3):
            self.world.round()

    @rule(name=ENDPOINTS)
    def create(self, name: str) -> None:
        if name in self.model or name in self.going:
            with pytest.raises(Conflict):
                endpoints.create(self.world.context, EndpointSpec(name=name))
            return
        endpoints.create(self.world.context, EndpointSpec(name=name))
        self.model[name] = Expected()

    @rule(endpoint=ENDPOINTS, name=NAMES, count=COUNTS, scaled=st.booleans())
    def deploy(self, endpoint: str, name: str, count: int, scaled: bool) -> None:
        spec = DeploymentSpec(
            name=name,
            endpoint_name=endpoint,
            model=MODEL,
            gate=False,
            instance_count=count,
            scale_settings=SCALE if scaled else None,
        )
        there = self.model.get(endpoint)
        if there is None or name in there.counts or name in there.going:
            with pytest.raises((NotFound, Conflict)):
                deployments.create(self.world.context, spec)
            return
        deployments.create(self.world.context, spec)
        if not there.counts:
            there.traffic = {name: 100}
            there.mirror.pop(name, None)
        there.counts[name] = None if scaled else count

    @rule(endpoint=ENDPOINTS, name=NAMES, count=COUNTS)
    def resize(self, endpoint: str, name: str, count: int) -> None:
        there = self.model.get(endpoint)
        change = DeploymentUpdate(instance_count=count)
        if there is None or name not in there.counts:
            with pytest.raises((NotFound, Conflict)):
                deployments.update(self.world.context, endpoint, name, change)
            return
        deployments.update(self.world.context, endpoint, name, change)
        if there.counts[name] is not None:
            there.counts[name] = count

    @rule(endpoint=ENDPOINTS, name=NAMES, length=st.sampled_from([256, 512]))
    def roll(self, endpoint: str, name: str, length: int) -> None:
        """An update that needs other processes."""
        if name in self.model.get(endpoint, Expected()).counts:
            change = DeploymentUpdate(context_length=length)
            deployments.update(self.world.context, endpoint, name, change)

    @rule(endpoint=ENDPOINTS, name=NAMES, other=NAMES, share=st.integers(0, 100))
    def share_out(self, endpoint: str, name: str, other: str, share: int) -> None:
        traffic = {name: share, other: 100 - share} if name != other else {name: 100}
        live = {key: percent for key, percent in traffic.items() if percent}
        there = self.model.get(endpoint)
        change = EndpointUpdate(traffic=traffic)
        if there is None or not set(traffic) <= set(there.counts) or set(live) & set(there.mirror):
            with pytest.raises((NotFound, InvalidInput, Conflict)):
                endpoints.update(self.world.context, endpoint, change)
            return
        endpoints.update(self.world.context, endpoint, change)
        there.traffic = live

    @rule(endpoint=ENDPOINTS)
    def share_nothing(self, endpoint: str) -> None:
        if endpoint in self.model:
            endpoints.update(self.world.context, endpoint, EndpointUpdate(traffic={}))
            self.model[endpoint].traffic = {}

    @rule(endpoint=ENDPOINTS, name=NAMES, share=st.integers(0, 50))
    def mirror(self, endpoint: str, name: str, share: int) -> None:
        there = self.model.get(endpoint)
        change = EndpointUpdate(mirror_traffic={name: share})
        refused = there is None or name not in there.counts or (share and name in there.traffic)
        if refused:
            with pytest.raises((NotFound, InvalidInput, Conflict)):
                endpoints.update(self.world.context, endpoint, change)
            return
        endpoints.update(self.world.context, endpoint, change)
        self.model[endpoint].mirror = {name: share} if share else {}

    @rule(endpoint=ENDPOINTS)
    def new_key(self, endpoint: str) -> None:
        if endpoint in self.model:
            before = endpoints.keys(self.world.context, endpoint)
            after = endpoints.regenerate_key(self.world.context, endpoint, "primary")
            assert before.primaryKey != after.primaryKey
            assert before.secondaryKey == after.secondaryKey

    @rule(endpoint=ENDPOINTS, name=NAMES)
    def remove(self, endpoint: str, name: str) -> None:
        there = self.model.get(endpoint)
        if there is None or name not in there.counts:
            if there is None or name not in there.going:
                with pytest.raises(NotFound):
                    deployments.delete(self.world.context, endpoint, name)
            return
        if name in there.traffic or name in there.mirror:
            with pytest.raises(Conflict):
                deployments.delete(self.world.context, endpoint, name)
            return
        deployments.delete(self.world.context, endpoint, name)
        del there.counts[name]
        there.going.add(name)

    @rule(endpoint=ENDPOINTS)
    def delete(self, endpoint: str) -> None:
        if endpoint in self.model:
            endpoints.delete(self.world.context, endpoint)
            del self.model[endpoint]
            self.going.add(endpoint)

    # What breaks

    @precondition(lambda self: self.world.fleet.replicas())
    @rule(which=ANY, failed=st.booleans())
    def kill(self, which: int, failed: bool) -> None:
        """A replica is gone without a word, or says why it failed."""
        running = self.world.fleet.replicas()
        folder = running[which % len(running)]
        if failed:
            self.world.fleet.end(folder, "failed")
        else:
            self.world.fleet.kill(folder)

    @precondition(lambda self: self.world.fleet.ports)
    @rule(which=ANY, kind=st.sampled_from(["live", "ready", ""]))
    def probe(self, which: int, kind: str) -> None:
        """A replica hangs, cannot answer, or is well again; and the reconciler sees it."""
        ports = sorted(self.world.fleet.ports.values())
        self.world.prober.sick[ports[which % len(ports)]] = kind
        self.tick()

    @rule()
    def kill_control_plane(self) -> None:
        self.world.restart()

    # What goes on

    @rule(endpoint=ENDPOINTS, name=NAMES, running=st.integers(0, 16))
    def ask(self, endpoint: str, name: str, running: int) -> None:
        self.world.say({f"{endpoint}/{name}": running})

    @rule(seconds=st.sampled_from([1, 5, 30]))
    def wait(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def tick(self) -> None:
        self.world.tick()
        self.forget_gone()

    @rule()
    def work(self) -> None:
        """Processes do what they were told: they get ready, or end."""
        self.world.fleet.stop()
        self.world.fleet.work()

    @rule()
    def gateway(self) -> None:
        self.world.gateway_loads()

    @rule(times=st.integers(2, 4))
    def rounds(self, times: int) -> None:
        for _ in range(times):
            self.world.pass_time(1)
            self.world.round()
        self.forget_gone()

    def forget_gone(self) -> None:
        """What was asked to be deleted and has no row any more."""
        rows = {(row.endpoint, row.name) for row in self.world.deployments()}
        for endpoint, there in self.model.items():
            there.going = {name for name in there.going if (endpoint, name) in rows}
        left = {item.name for item in endpoints.listing(self.world.context)}
        self.going &= left

    # What always holds

    @invariant()
    def agree(self) -> None:
        """What is shown and what the gateway is told are what was asked."""
        self.world.publish()
        self.forget_gone()
        context, table = self.world.context, self.world.table()
        shown = {item.name: item for item in endpoints.listing(context)}
        assert set(shown) == set(self.model) | self.going
        assert set(table) == set(self.model)
        for name, there in self.model.items():
            found, route = shown[name], table[name]
            assert found.traffic == route["traffic"] == there.traffic
            assert found.mirror_traffic == route["mirror"] == there.mirror
            assert set(found.deployments) == set(there.counts) | there.going
            assert set(route["deployments"]) == set(there.counts)
            assert sum(there.traffic.values()) in (0, 100)
            assert sum(there.mirror.values()) <= 50
            assert not set(there.traffic) & set(there.mirror)
            keys = endpoints.keys(context, name)
            hashes = [keys.primaryKey, keys.secondaryKey]
            assert set(route["key_hashes"]) == {
                hashlib.sha256(key.encode()).hexdigest() for key in hashes
            }

    @invariant()
    def requests_go_to_what_runs(self) -> None:
        table = self.world.table()
        for row in self.world.deployments():
            if row.state == "Deleting" or row.endpoint not in table:
                continue
            route = table[row.endpoint]["deployments"][row.name]
            ports = {int(each["url"].rpartition(":")[2]) for each in route["replicas"]}
            assert ports == self.world.routable(row)
            assert route["asleep"] == (row.wanted == 0)

    @invariant()
    def nothing_is_orphaned(self) -> None:
        """Every process has a row that knows of it, and no two rows share a folder."""
        folders = [Path(row.run_dir) for row in self.world.replicas()]
        assert len(folders) == len(set(folders))
        assert set(self.world.fleet.replicas()) <= set(folders)

    @invariant()
    def as_many_as_allowed(self) -> None:
        for row in self.world.deployments():
            if row.state != "Deleting":
                count = self.model[row.endpoint].counts[row.name]
                assert row.wanted == count if count is not None else 0 <= row.wanted <= 3

    @invariant()
    def states_only_move_along_edges(self) -> None:
        for what, old, new in self.world.edges:
            assert new in EDGES[what][old], f"a {what} went from {old} to {new}"
        self.world.edges.clear()

    def at_rest(self) -> None:
        """After everything: as many replicas as are wanted, and nothing of what was deleted."""
        self.requests_go_to_what_runs()
        rows = {(row.endpoint, row.name): row for row in self.world.deployments()}
        asked = {(name, each) for name, there in self.model.items() for each in there.counts}
        assert set(rows) == asked, "what was deleted is gone"
        every = self.world.replicas()
        for key, row in rows.items():
            mine = [each for each in every if (each.endpoint, each.deployment) == key]
            given_up = any(each.state == "failed" for each in mine)
            if row.state == "Failed" or given_up:
                continue  # five failures in a row: reported, and left to the user
            assert row.state == "Succeeded", f"{key} is {row.state}"
            assert [each.state for each in mine] == ["ready"] * row.wanted
            assert {each.revision for each in mine} <= {row.revision}
        running = set(self.world.fleet.replicas())
        assert running == {Path(each.run_dir) for each in every if each.state != "failed"}
        runs = self.world.home.runs
        left = set(runs.glob("replica-*")) if runs.exists() else set[Path]()
        assert left == {Path(each.run_dir) for each in every}, "no folder is left behind"


TestEndpoints = Endpoints.TestCase
TestEndpoints.settings = settings(
    max_examples=12,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
