"""`phoundry deployment update` and what several replicas look like, against a fake API."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.client.fake_api import FakeApi

REPLICA = {"revision": 2, "state": "ready", "pid": 4711, "memory_bytes": 324_000_000}


@pytest.fixture
def blue(shell: Shell, api: FakeApi) -> FakeApi:
    """A deployment `faq/blue` that is Succeeded."""
    api.deployment_states = [{"provisioning_state": "Succeeded"}]
    assert shell("endpoint", "create", "faq").code == 0
    assert shell("deployment", "create", "faq/blue", "--model", "faq:1", "--no-gate").code == 0
    return api


def test_it_waits_until_the_change_is_in_force(shell: Shell, blue: FakeApi) -> None:
    blue.deployment_states = [
        {"provisioning_state": "Updating"},
        {
            "provisioning_state": "Succeeded",
            "revision": 2,
            "model": "faq:2",
            "replicas": [{"number": 1, **REPLICA}, {"number": 2, **REPLICA, "state": "draining"}],
        },
    ]
    done = shell("deployment", "update", "faq/blue", "--model", "faq:2", "--instance-count", "2")
    assert done.code == 0, done.err
    assert "Updating faq/blue" in done.err
    assert "1  ready  revision 2  pid 4711  324 MB" in done.out
    assert "2  draining  revision 2" in done.out


def test_what_is_asked_is_what_was_written(shell: Shell, blue: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "blue.yaml"
    file.write_text(
        "name: blue\nendpoint_name: faq\nmodel: faq:3\ninstance_type: Standard_NC6s_v3\n"
        "request_settings:\n  request_timeout_ms: 1000\ndefaults:\n  temperature: 0.5\n"
    )
    words = ("-f", str(file), "--max-tokens", "9", "--no-gate", "--no-wait", "-o", "json")
    asked = shell("deployment", "update", *words).json
    assert (asked["model"], asked["request_settings"]["request_timeout_ms"]) == ("faq:3", 1000)
    assert (asked["defaults"]["temperature"], asked["defaults"]["max_tokens"]) == (0.5, 9)
    set_ = shell(
        "deployment", "update", "faq/blue", "--set", "liveness_probe.period=3", "--no-wait"
    )
    assert "period = 3" in set_.out


def test_a_revision_that_was_taken_back_fails_the_command(shell: Shell, blue: FakeApi) -> None:
    error = {"code": "ModelError", "message": "Revision 2 failed: so it goes.", "remedy": "Mend."}
    blue.deployment_states = [{"provisioning_state": "Succeeded", "revision": 1, "error": error}]
    done = shell("deployment", "update", "faq/blue", "--engine", "transformers")
    assert done.code == 1
    assert "Revision 2 failed" in done.err


def test_back_to_the_one_before(shell: Shell, blue: FakeApi) -> None:
    blue.deployment_states = [{"provisioning_state": "Succeeded", "revision": 3}]
    assert (
        shell("deployment", "update", "faq/blue", "--rollback", "-o", "json").json["revision"] == 3
    )
    mixed = shell("deployment", "update", "faq/blue", "--rollback", "--model", "faq:2")
    assert (mixed.code, "--rollback goes with no other change" in mixed.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["faq/blue"], 2),
        (["faq/blue", "--instance-count", "0"], 1),
        (["faq/blue", "--quantization", "Q3"], 1),
        (["faq/blue", "--set", "name=other"], 1),
    ],
)
def test_what_cannot_be_asked(shell: Shell, blue: FakeApi, words: list[str], code: int) -> None:
    assert shell("deployment", "update", *words).code == code


def test_the_log_of_one_replica(shell: Shell, blue: FakeApi) -> None:
    assert shell("deployment", "logs", "faq/blue", "--replica", "1").out == "of 1"
