"""What the command line says of the deploy gate."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Shell
from tests.client.fake_api import FakeApi
from tests.services.fake_workers import report


@pytest.fixture
def faq(shell: Shell, api: FakeApi) -> FakeApi:
    assert shell("endpoint", "create", "faq").code == 0
    return api


def test_a_deployment_that_does_not_pass_ends_with_the_diff(shell: Shell, faq: FakeApi) -> None:
    faq.deployment_states = [
        {"provisioning_state": "Succeeded", "gate": "pending"},
        {"provisioning_state": "Succeeded", "gate": "failed"},
    ]
    faq.parity = {"gate": "failed", "report": report(passed=False)}
    done = shell("deployment", "create", "faq/blue", "--model", "faq:1")
    assert done.code == 1
    assert "faq/blue does not answer as the model that was trained" in done.err
    assert "token 3 of the answer: the engine says 'Paul'; the reference says 'Bill'" in done.err
    for way_out in ("show faq/blue --parity", "retry faq/blue", "update faq/blue --no-gate"):
        assert f"phoundry deployment {way_out}" in done.err.replace("\n", " ")


def test_one_that_passes_is_waited_for(shell: Shell, faq: FakeApi) -> None:
    faq.deployment_states = [
        {"provisioning_state": "Succeeded", "gate": "pending"},
        {"provisioning_state": "Succeeded", "gate": "passed"},
    ]
    found = shell("deployment", "create", "faq/blue", "--model", "faq:1", "-o", "json").json
    assert found["gate"] == "passed"


def test_the_report_is_shown(shell: Shell, faq: FakeApi) -> None:
    assert shell("deployment", "create", "faq/blue", "--model", "faq:1", "--no-wait").code == 0
    faq.parity = {"gate": "passed", "report": report(passed=True)}
    text = shell("deployment", "show", "faq/blue", "--parity").out
    assert "faq/blue: gate passed" in text
    assert "passed: llama.cpp Q8_0 against transformers, float32" in text
    shown = shell("deployment", "show", "faq/blue", "--parity", "-o", "json").json
    assert (shown["gate"], shown["report"]["agreed"]) == ("passed", 191)


def test_a_gate_that_could_not_be_run_says_why(shell: Shell, faq: FakeApi) -> None:
    faq.deployment_states = [{"provisioning_state": "Succeeded", "gate": "failed"}]
    error = {
        "code": "MissingDependency",
        "message": "The package 'torch' is not installed.",
        "remedy": "Install it.",
    }
    faq.parity = {"gate": "failed", "error": error}
    done = shell("deployment", "create", "faq/blue", "--model", "faq:1")
    assert done.code == 1
    assert "could not be run" in done.err.replace("\n", " ")
    assert "The package 'torch' is not installed." in done.err.replace("\n", " ")
