from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from pydantic import ValidationError

from phoundry.errors import Conflict, InvalidInput, NotFound
from phoundry.files import read_json
from phoundry.services import deployments, endpoints, routing
from phoundry.services.context import Context, open_context
from phoundry.services.reconcile import deployments as reconcile
from phoundry.settings import Home
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec, EndpointUpdate

MODEL = "smollm2-135m-instruct"


def deploy(context: Context, name: str, endpoint: str = "faq-bot") -> None:
    spec = DeploymentSpec(name=name, endpoint_name=endpoint, model=MODEL, gate=False)
    deployments.create(context, spec)


@pytest.fixture
def endpoint(context: Context) -> str:
    return endpoints.create(context, EndpointSpec(name="faq-bot")).name


def table(context: Context) -> dict[str, Any]:
    routing.publish(context)
    found: dict[str, Any] = read_json(context.home.routes)
    return found["endpoints"]


def test_the_first_deployment_gets_everything_later_ones_nothing(
    context: Context, endpoint: str
) -> None:
    deploy(context, "blue")
    deploy(context, "green")
    assert endpoints.show(context, endpoint).traffic == {"blue": 100}
    shares = {item.name: item.traffic for item in deployments.listing(context, endpoint)}
    assert shares == {"blue": 100, "green": 0}


def test_traffic_moves_and_reaches_the_table(context: Context, endpoint: str) -> None:
    deploy(context, "blue")
    deploy(context, "green")
    endpoints.update(context, endpoint, EndpointUpdate(traffic={"blue": 90, "green": 10}))
    assert table(context)[endpoint]["traffic"] == {"blue": 90, "green": 10}
    endpoints.update(context, endpoint, EndpointUpdate(traffic={"blue": 0, "green": 0}))
    assert table(context)[endpoint]["traffic"] == {}


@pytest.mark.parametrize("traffic", [{"blue": 90}, {"blue": 101}, {"blue": -1, "green": 101}])
def test_shares_that_do_not_add_up(traffic: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="share"):
        EndpointUpdate(traffic=traffic)


def test_traffic_for_what_is_not_deployed(context: Context, endpoint: str) -> None:
    deploy(context, "blue")
    with pytest.raises(InvalidInput, match=r"'gren' is not deployed[\s\S]*It has: blue"):
        endpoints.update(context, endpoint, EndpointUpdate(traffic={"gren": 100}))


def test_live_traffic_keeps_a_deployment(context: Context, endpoint: str) -> None:
    deploy(context, "blue")
    with pytest.raises(Conflict, match="100 % of the live traffic"):
        deployments.delete(context, endpoint, "blue")
    endpoints.update(context, endpoint, EndpointUpdate(traffic={}))
    deployments.delete(context, endpoint, "blue")
    reconcile.tick(context)
    assert deployments.listing(context, endpoint) == []


def test_a_new_key_replaces_only_its_own_kind(context: Context, endpoint: str) -> None:
    before = endpoints.keys(context, endpoint)
    after = endpoints.regenerate_key(context, endpoint, "primary")
    assert after.primaryKey != before.primaryKey
    assert after.secondaryKey == before.secondaryKey
    hashes = table(context)[endpoint]["key_hashes"]
    assert hashlib.sha256(after.primaryKey.encode()).hexdigest() in hashes
    assert hashlib.sha256(before.primaryKey.encode()).hexdigest() not in hashes


def test_keys_are_nowhere_in_clear(context: Context, endpoint: str) -> None:
    keys = endpoints.keys(context, endpoint)
    routing.publish(context)
    for path in context.home.root.rglob("*"):
        if path.is_file():
            assert keys.primaryKey.encode() not in path.read_bytes(), path
    assert context.home.routes.stat().st_mode & 0o777 == 0o600


def test_a_deleted_endpoint_leaves_nothing(context: Context, endpoint: str) -> None:
    deploy(context, "blue")
    endpoints.delete(context, endpoint)
    assert endpoint not in table(context)
    reconcile.tick(context)
    with pytest.raises(NotFound):
        endpoints.show(context, endpoint)
    endpoints.create(context, EndpointSpec(name=endpoint))


def test_a_model_that_nobody_knows(context: Context, endpoint: str) -> None:
    spec = DeploymentSpec(name="blue", endpoint_name=endpoint, model="smollm2-135m-instrukt")
    with pytest.raises(NotFound, match="Did you mean smollm2-135m-instruct"):
        deployments.create(context, spec)
    assert endpoints.show(context, endpoint).traffic == {}


def test_azures_places_are_recorded_with_a_notice(context: Context, endpoint: str) -> None:
    spec = DeploymentSpec(
        name="blue", endpoint_name=endpoint, model=MODEL, instance_type="Standard_NC6s_v3"
    )
    made = deployments.create(context, spec)
    assert made.instance_type == "Standard_NC6s_v3"
    assert "runs on this machine" in made.notices[0]


NAMES = st.sampled_from(["blue", "green", "grey"])


class Endpoints(RuleBasedStateMachine):
    """Create, share out, delete, against a dictionary. No replica starts: no tick makes one."""

    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.context = open_context(Home(Path(self.folder.name)))
        self.model: dict[str, dict[str, int]] = {}

    def teardown(self) -> None:
        self.context.database.close()
        self.folder.cleanup()

    @rule(target=made, name=st.sampled_from(["one-bot", "two-bot"]))
    def create(self, name: str) -> str:
        if name in self.model:
            with pytest.raises(Conflict):
                endpoints.create(self.context, EndpointSpec(name=name))
        else:
            endpoints.create(self.context, EndpointSpec(name=name))
            self.model[name] = {}
        return name

    @rule(endpoint=made, name=NAMES)
    def deploy(self, endpoint: str, name: str) -> None:
        if endpoint not in self.model:
            with pytest.raises(NotFound):
                deploy(self.context, name, endpoint)
        elif name in self.model[endpoint]:
            with pytest.raises(Conflict):
                deploy(self.context, name, endpoint)
        else:
            deploy(self.context, name, endpoint)
            self.model[endpoint][name] = 0 if self.model[endpoint] else 100

    @rule(endpoint=made, name=NAMES, share=st.integers(0, 100), other=NAMES)
    def share_out(self, endpoint: str, name: str, share: int, other: str) -> None:
        traffic = {name: share, other: 100 - share} if name != other else {name: 100}
        present = self.model.get(endpoint)
        if present is None:
            with pytest.raises(NotFound):
                endpoints.update(self.context, endpoint, EndpointUpdate(traffic=traffic))
        elif not set(traffic) <= set(present):
            with pytest.raises(InvalidInput):
                endpoints.update(self.context, endpoint, EndpointUpdate(traffic=traffic))
        else:
            endpoints.update(self.context, endpoint, EndpointUpdate(traffic=traffic))
            self.model[endpoint] = {item: traffic.get(item, 0) for item in present}

    @rule(endpoint=made, name=NAMES)
    def remove(self, endpoint: str, name: str) -> None:
        present = self.model.get(endpoint, {})
        if name not in present:
            with pytest.raises(NotFound):
                deployments.delete(self.context, endpoint, name)
        elif present[name]:
            with pytest.raises(Conflict):
                deployments.delete(self.context, endpoint, name)
        else:
            deployments.delete(self.context, endpoint, name)
            self.forget()
            del present[name]

    @rule(endpoint=made)
    def delete(self, endpoint: str) -> None:
        if endpoint not in self.model:
            with pytest.raises(NotFound):
                endpoints.delete(self.context, endpoint)
        else:
            endpoints.delete(self.context, endpoint)
            self.forget()
            del self.model[endpoint]

    def forget(self) -> None:
        """What the reconciler does with rows in deletion whose replica has ended."""
        reconcile.remove_deleted(self.context)

    @invariant()
    def agree(self) -> None:
        shown = {item.name: item for item in endpoints.listing(self.context)}
        assert set(shown) == set(self.model)
        published = table(self.context)
        for name, shares in self.model.items():
            live = {item: share for item, share in shares.items() if share}
            assert shown[name].traffic == live == published[name]["traffic"]
            assert set(shown[name].deployments) == set(shares)
            assert sum(live.values()) in (0, 100)


TestEndpoints = Endpoints.TestCase
TestEndpoints.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
