"""Verbs over the wire: what is sent, what comes back, what waiting sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.client import Client
from phoundry.client.jobs import follow_log
from phoundry.client.waiting import wait_for
from phoundry.errors import InvalidInput, NotFound, Unavailable
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.job import FineTuningJobSpec, Job, LogChunk
from tests.client.fake_api import KEY, FakeApi

SPEC = FineTuningJobSpec(name="job-1", model="m", training_data="faq:1")


def test_a_job_is_followed_until_it_ends(client: Client, api: FakeApi) -> None:
    client.jobs.create(SPEC)
    api.job_states = [
        {"status": "Running", "progress": {"step": 1, "max_steps": 2}},
        {"status": "Running", "progress": {"step": 1, "max_steps": 2}},
        {"status": "Completed", "progress": {"step": 2, "max_steps": 2}},
    ]
    seen: list[Job] = []
    done = client.jobs.wait("job-1", seen.append)
    assert done.status == "Completed"
    assert [(job.status, job.progress.step) for job in seen] == [("Running", 1), ("Completed", 2)]


def test_a_log_is_followed_to_its_end(client: Client, api: FakeApi) -> None:
    client.jobs.create(SPEC)
    assert "".join(client.jobs.follow("job-1")) == api.log
    assert client.jobs.logs("job-1", offset=7).text == "line 2\n"


def test_only_what_was_set_is_sent(client: Client, api: FakeApi) -> None:
    client.jobs.create(SPEC)
    assert client.jobs.show("job-1").parameters == {}
    assert client.jobs.cancel("job-1").status == "CancelRequested"


def test_a_model_is_waited_for(client: Client, api: FakeApi) -> None:
    assert client.models.register("faq", "job-1").status == "Registering"
    api.model_states = [{"status": "Registering"}, {"status": "Ready"}]
    assert client.models.wait("faq:1").status == "Ready"


def test_endpoints_and_deployments(client: Client, api: FakeApi) -> None:
    client.endpoints.create(EndpointSpec(name="faq"))
    for name in ("blue", "green"):
        client.deployments.create(DeploymentSpec(name=name, endpoint_name="faq", model="faq:1"))
    assert client.endpoints.show("faq").traffic == {"blue": 100, "green": 0}
    assert client.endpoints.update("faq", {"blue": 90, "green": 10}).traffic["green"] == 10
    api.deployment_states = [{"provisioning_state": "Succeeded"}]
    assert client.deployments.wait("faq", "green").provisioning_state == "Succeeded"
    client.deployments.delete("faq", "green")
    assert [each.name for each in client.deployments.list("faq")] == ["blue"]
    assert client.endpoints.regenerate("faq", "primary").primaryKey == "fresh-" + KEY
    client.endpoints.delete("faq")
    with pytest.raises(NotFound):
        client.endpoints.show("faq")


def test_an_endpoint_is_opened_by_what_it_wants(client: Client, api: FakeApi) -> None:
    for name, mode in (("by-key", "key"), ("by-token", "aml_token")):
        client.endpoints.create(EndpointSpec.model_validate({"name": name, "auth_mode": mode}))
    secrets = [client.endpoints.secret(each) for each in client.endpoints.list()]
    assert secrets == [KEY, "token-of-by-token"]
    token = client.endpoints.token("by-token", seconds=60)
    assert token.expiryTimeUtc == 60
    assert "token-of" not in repr(token)
    with pytest.raises(InvalidInput, match="seconds"):
        client.endpoints.token("by-token", seconds=86_401)


def test_wrong_shares_never_leave_this_process(client: Client, api: FakeApi) -> None:
    with pytest.raises(InvalidInput, match="add up to 70 %"):
        client.endpoints.update("faq", {"blue": 50, "green": 20})
    assert api.seen == []


def test_a_source_that_is_no_file(client: Client, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing\.jsonl"):
        client.data.create("faq", tmp_path / "nothing.jsonl")
    with pytest.raises(InvalidInput, match="holds no data file"):
        client.data.create("faq", tmp_path)


def test_waiting_ends_when_its_time_is_over() -> None:
    looks: list[int] = []
    with pytest.raises(Unavailable, match="Job x is not done"):
        wait_for(lambda: looks.append(1), lambda _: False, timeout=0, what="Job x")
    assert looks == [1]


def test_waiting_ends_when_nobody_moves_things_on() -> None:
    looks: list[int] = []
    with pytest.raises(Unavailable, match=r"Phoundry was stopped\. Job x is kept.*phoundry up"):
        wait_for(
            lambda: looks.append(1), lambda _: False, alive=lambda: len(looks) < 2, what="Job x"
        )
    assert len(looks) == 2


def test_a_log_that_grows_no_more_ends() -> None:
    pieces = iter([LogChunk(text="one", offset=3, finished=False)])
    end = LogChunk(text="", offset=3, finished=False)
    log = follow_log(lambda _: next(pieces, end), lambda: False, "Job x")
    assert next(log) == "one"
    with pytest.raises(Unavailable, match="was stopped"):
        next(log)
