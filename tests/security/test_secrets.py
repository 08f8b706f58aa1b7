"""Canaries: every secret of a home, looked for wherever it has no business."""

from __future__ import annotations

import json

import pytest

from tests.security.conftest import CONNECTION_SECRET, Fortress
from tests.support.site import contents

pytestmark = [pytest.mark.xdist_group("journey")]

# What a process must be told, and how: in a file that its owner alone can read.
HELD = {"control plane": ["server.json"], "replica": ["routes.json", "spec.json"]}


def test_files_with_keys_are_for_their_owner_alone(fortress: Fortress) -> None:
    home = fortress.site.home
    private = [home / "vault.key", home / "server.json", home / "gateway" / "routes.json"]
    private += home.glob("runs/*/spec.json")
    assert len(private) > 5
    for path in private:
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert home.stat().st_mode & 0o777 == 0o700


def test_no_argument_and_no_variable_of_a_process_is_one(fortress: Fortress) -> None:
    processes = fortress.processes()
    assert len(processes) == 3  # control plane, gateway, replica
    secrets = fortress.secrets()
    for process in processes:
        told = "\0".join([*process.cmdline(), *process.environ().values()])
        for opens, secret in secrets.items():
            assert secret not in told, (opens, process.cmdline())


def test_a_flows_process_is_told_of_none(fortress: Fortress) -> None:
    site = fortress.site
    inherited = site.environ | {"PHOUNDRY_TOKEN": "canary-of-the-token"}
    loud = type(site)(site.home, site.model, site.data, inherited)
    result = loud.json("flow", "test", str(fortress.flow), "--inputs", "question=look")
    seen = json.loads(result["output"]["answer"])
    told = json.dumps(seen)
    assert seen["environ"]["PHOUNDRY_HOME"] == str(site.home)  # it did look
    for secret in (*fortress.secrets().values(), "canary-of-the-token"):
        assert secret not in told


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("connection", "list"),
        ("connection", "show", "vault"),
        ("connection", "create", "vault", "--set", "a=b"),  # the name is taken
        ("endpoint", "list"),
        ("endpoint", "show", "colours"),
        ("deployment", "show", "colours/tuned-1"),
        ("model", "show", "colours"),
        ("flow", "test", "{flow}", "--inputs", "question=fail"),
        ("chat", "{flow}", "--message", "fail"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("format_", ["table", "json"])
def test_no_command_prints_one(fortress: Fortress, words: tuple[str, ...], format_: str) -> None:
    named = [word.replace("{flow}", str(fortress.flow)) for word in words]
    done = fortress.site.run(*named, "-o", format_)
    assert "Traceback" not in done.stderr
    assert done.stdout + done.stderr
    for opens, secret in fortress.secrets().items():
        assert secret not in done.stdout + done.stderr, opens


def test_a_secret_on_the_command_line_is_refused_without_quoting_it(fortress: Fortress) -> None:
    done = fortress.site.run("connection", "create", "other", "--secret", f"k={CONNECTION_SECRET}")
    assert done.returncode == 2
    assert CONNECTION_SECRET not in done.stdout + done.stderr


def test_no_file_holds_a_secret_but_those_made_for_it(fortress: Fortress) -> None:
    """Database, MLflow's store, logs, run folders: also after a tool has printed the secret."""
    fortress.site.run("flow", "test", str(fortress.flow), "--inputs", "question=fail")
    found: dict[str, set[str]] = {}
    secrets = fortress.secrets()
    for path, content in contents(fortress.site.home):
        for opens, secret in secrets.items():
            if secret.encode() in content:
                found.setdefault(opens, set()).add(path.name)
                assert path.stat().st_mode & 0o777 == 0o600, path
    assert {opens: sorted(names) for opens, names in found.items()} == HELD
