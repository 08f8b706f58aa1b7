"""`phoundry model`, `endpoint` and `deployment`, against a fake control plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell
from tests.client.fake_api import KEY, FakeApi


@pytest.fixture
def faq(shell: Shell, api: FakeApi) -> FakeApi:
    """An endpoint `faq` whose deployments come up at once."""
    assert shell("endpoint", "create", "faq").code == 0
    api.deployment_states = [{"provisioning_state": "Succeeded"}]
    return api


def test_registering_waits_until_the_model_is_ready(shell: Shell, api: FakeApi) -> None:
    api.model_states = [{"status": "Registering"}, {"status": "Ready"}]
    done = shell("model", "register", "faq", "--job", "job-1")
    assert done.code == 0
    assert "phoundry deployment create blue --endpoint faq --model faq:1" in done.err
    assert shell("model", "show", "faq:1", "-o", "json").json["status"] == "Ready"
    listed = shell("model", "list", "--registered").out.splitlines()
    assert listed[1].split()[:2] == ["faq:1", "Ready"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "neither --job nor --path"), (["--job", "j", "--path", "x"], "both --job and --path")],
)
def test_registering_names_one_origin(shell: Shell, arguments: list[str], message: str) -> None:
    done = shell("model", "register", "faq", *arguments)
    assert (done.code, message in done.err) == (2, True), done.err


def test_registering_a_path_makes_it_absolute(
    shell: Shell, api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shell("model", "register", "faq", "--path", "adapter", "--base", "./base", "--no-wait")
    made = api.resources["models"]["faq"]
    assert (made["path"], made["base_model"]) == (str(tmp_path / "adapter"), str(tmp_path / "base"))
    assert "job" not in made


def test_registering_without_waiting(shell: Shell, api: FakeApi) -> None:
    done = shell("model", "register", "faq", "--job", "job-1", "--no-wait", "-o", "json")
    assert done.json["status"] == "Registering"


def test_a_failed_registration_fails_the_command(shell: Shell, api: FakeApi) -> None:
    api.model_states = [
        {"status": "Failed", "error": {"code": "ModelError", "message": "Weights differ."}}
    ]
    done = shell("model", "register", "faq", "--job", "job-1")
    assert done.code == 1
    assert "Weights differ." in done.err


def test_an_endpoint_from_a_file(shell: Shell, api: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "endpoint.yaml"
    file.write_text("name: from-file\nauth_mode: key\n")
    assert shell("endpoint", "create", "-f", str(file), "-o", "json").json["name"] == "from-file"
    assert (
        shell("endpoint", "create", "other", "-f", str(file), "-o", "json").json["name"] == "other"
    )
    assert shell("endpoint", "create").code == 2
    assert shell("endpoint", "create", "x").code == 1  # too short for Azure's rule


def test_keys(shell: Shell, faq: FakeApi) -> None:
    assert shell("endpoint", "keys", "faq", "--only", "primary").out == f"{KEY}\n"
    assert shell("endpoint", "keys", "faq", "-o", "json").json["secondaryKey"] == f"{KEY}-2"
    renewed = shell("endpoint", "keys", "faq", "--regenerate", "primary", "--only", "primary")
    assert renewed.out == f"fresh-{KEY}\n"
    assert shell("endpoint", "keys", "faq", "--only", "third").code == 2


def test_tokens(shell: Shell, api: FakeApi) -> None:
    made = shell("endpoint", "create", "faq", "--auth-mode", "aml_token", "-o", "json")
    assert made.json["auth_mode"] == "aml_token"
    assert shell("endpoint", "token", "faq", "--only").out == "token-of-faq\n"
    short = shell("endpoint", "token", "faq", "--seconds", "60", "-o", "json").json
    assert (short["accessToken"], short["expiryTimeUtc"]) == ("token-of-faq", 60)
    assert shell("endpoint", "token", "faq", "--seconds", "0").code == 2
    assert shell("endpoint", "create", "other", "--auth-mode", "aad_token").code == 2


def test_limits_of_an_endpoint(shell: Shell, faq: FakeApi) -> None:
    def update(*words: str) -> Any:
        return shell("endpoint", "update", "faq", *words, "-o", "json").json

    assert update("--mirror", "next=20")["mirror_traffic"] == {"next": 20}
    assert "next=20" in shell("endpoint", "list").out
    assert update("--rate-limit", "600")["rate_limit"] == {"requests_per_minute": 600}
    pages = ["https://a.example", "http://localhost:3000"]
    flags = [word for page in pages for word in ("--allow-origin", page)]
    assert update(*flags, "--description", "D")["allowed_origins"] == pages
    shown = shell("endpoint", "show", "faq").out
    for words in ("next = 20", "requests_per_minute = 600", *pages):
        assert words in shown
    taken = update("--mirror", "none", "--rate-limit", "0", "--allow-origin", "none")
    assert [taken[key] for key in ("mirror_traffic", "rate_limit", "allowed_origins")] == [
        {},
        None,
        [],
    ]
    assert taken["description"] == "D"
    for wrong in (["--mirror", "next=51"], ["--allow-origin", "example.org"]):
        assert shell("endpoint", "update", "faq", *wrong).code == 1
    for wrong in ([], ["--mirror", "next=many"], ["--rate-limit", "-1"]):
        assert shell("endpoint", "update", "faq", *wrong).code == 2


def test_deploying_waits_and_traffic_moves(shell: Shell, faq: FakeApi) -> None:
    made = shell("deployment", "create", "blue", "--endpoint", "faq", "--model", "faq:1")
    assert made.code == 0
    assert "Succeeded" in made.out
    assert "Next: phoundry chat faq" in made.err
    shell("deployment", "create", "faq/green", "--model", "faq:2")
    moved = shell("endpoint", "update", "faq", "--traffic", "blue=90,green=10", "-o", "json")
    assert moved.json["traffic"] == {"blue": 90, "green": 10}
    shell("deployment", "create", "faq/red", "--model", "faq:3", "--all-traffic")
    shown = shell("endpoint", "show", "faq", "-o", "json").json
    assert shown["traffic"] == {"blue": 0, "green": 0, "red": 100}
    assert "blue=0 green=0 red=100" in shell("endpoint", "list").out
    assert [line.split()[0] for line in shell("deployment", "list").out.splitlines()[1:]] == [
        "faq/blue",
        "faq/green",
        "faq/red",
    ]


def test_azures_yaml_and_options_over_it(shell: Shell, faq: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "blue.yaml"
    file.write_text(
        "name: blue\nendpoint_name: faq\nmodel: azureml:faq:1\ninstance_type: Standard_NC6s_v3\n"
        "instance_count: 1\n"
    )
    made = shell("deployment", "create", "-f", str(file), "--engine", "transformers", "-o", "json")
    assert made.json["instance_type"] == "Standard_NC6s_v3"
    assert made.json["engine"] == "transformers"
    assert made.json["model"] == "azureml:faq:1"


def test_a_failed_deployment_fails_the_command(shell: Shell, faq: FakeApi) -> None:
    faq.deployment_states = [
        {"provisioning_state": "Failed", "error": {"code": "ModelError", "message": "No memory."}}
    ]
    done = shell("deployment", "create", "faq/blue", "--model", "faq:1")
    assert done.code == 1
    assert "No memory." in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["create", "blue", "--model", "m"],
        ["create", "faq/blue"],
        ["create", "faq/blue", "--endpoint", "other", "--model", "m"],
        ["create", "faq/blue", "--model", "m", "--no-wait", "--all-traffic"],
        ["show", "blue"],
        ["delete", "faq/blue"],  # nobody agreed
    ],
)
def test_wrong_calls(shell: Shell, faq: FakeApi, words: list[str]) -> None:
    assert shell("deployment", *words).code == 2


def test_logs_and_deletion(shell: Shell, faq: FakeApi) -> None:
    shell("deployment", "create", "faq/blue", "--model", "faq:1")
    assert shell("deployment", "logs", "faq/blue").out == faq.log
    assert shell("deployment", "logs", "faq/blue", "-f").out == faq.log
    assert shell("deployment", "delete", "faq/blue", "-y").code == 0
    assert shell("deployment", "list", "--endpoint", "faq", "-o", "json").json == []
    assert shell("endpoint", "delete", "faq").code == 2
    assert shell("endpoint", "delete", "faq", terminal=True, stdin="n\n").code == 1
    assert shell("endpoint", "delete", "faq", terminal=True, stdin="y\n").code == 0
    assert shell("endpoint", "delete", "faq", "-y").code == 1
