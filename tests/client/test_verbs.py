"""What can be typed can be called: every command has its verb on both clients."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from phoundry.cli.app import SECTIONS, root
from phoundry.client import AsyncClient, Client
from phoundry.client.generate.reading import OMITTED
from phoundry.settings import Home

NOUNS = {
    "data": "data",
    "job": "jobs",
    "model": "models",
    "endpoint": "endpoints",
    "deployment": "deployments",
    "connection": "connections",
    "flow": "flows",
    "run": "runs",
    "trace": "traces",
}
# A command whose verb is called otherwise, because in Python it does less or more.
OTHERWISE = {
    "up": "start",  # `up DATA` is `apply`
    "down": "shutdown",
    "apply": "apply.run",
    "get": "apply.get",
    "train": "jobs.create",
    "connection update": "connections.replace",
    "deployment data": "collected.follow",
    "flow test": "flows.run",
    "flow run": "runs.create",
    "run show-details": "runs.details",
    "run show-metrics": "runs.metrics",
    "run retry": "runs.resume",
    "run compare": "runs.show",
}
# Commands without a verb, and why.
WITHOUT = {
    "demo": "an example: its steps are the verbs",
    "config path": "client.home has the paths",
    "flow env": "about the disk of this machine: phoundry.flows.environments.use for a program",
    "config show": "about the environment of a shell; phoundry.settings for a program",
    "service install": "about the user's systemd",
    "service uninstall": "about the user's systemd",
    "service status": "about the user's systemd",
    "completion": "about a shell",
    "flow serve": "serves in the process that asks; phoundry.client.flow_serving.serving",
    "flow build": "writes a folder; phoundry.client.flow_serving.build_folder",
    "pf": "Prompt flow's words for the other commands",
}
# Verbs that no command has under a name of its own, and which command does the same.
MORE = {
    "apply.plan": "apply --dry-run",
    "apply.read": "apply",
    "apply.begin": "apply --no-wait",
    "apply.wait": "apply",
    "apply.flow_path": "apply",
    "collected.page": "deployment data",
    "connections.find": "flow test",
    "connections.values": "flow test",
    "data.rows": "data show",
    "data.stream": "data export",
    "data.tokens": "data show --model",
    "deployments.follow": "deployment logs -f",
    "deployments.parity": "deployment show --parity",
    "deployments.roll_back": "deployment update --rollback",
    "deployments.wait": "deployment create",
    "endpoints.regenerate": "endpoint keys --regenerate",
    "endpoints.secret": "chat",
    "flows.chat": "chat",
    "flows.interpreter": "flow test",
    "flows.keep_connections": "flow test",
    "flows.remember": "chat --chat-input",
    "flows.scores": "chat --compare",
    "flows.session": "flow test",
    "flows.settings": "flow test",
    "traces.document": "trace export",
    "traces.pieces": "trace export",
    "jobs.follow": "job logs -f",
    "jobs.metrics": "job show",
    "jobs.outputs": "job download",
    "jobs.samples": "job show",
    "jobs.wait": "job create --stream",
    "journeys.create": "up",
    "journeys.list": "status",
    "journeys.show": "up",
    "journeys.wait": "up",
    "models.base": "model show",
    "models.catalog": "model list",
    "models.wait": "model register",
    "prune_plan": "prune --dry-run",
    "runs.take_in": "run create --source",
    "close": "the end of a command",
}


def commands() -> Iterator[str]:
    command = root()
    top = command.context_class(command, info_name="phoundry")
    for section in SECTIONS.values():
        for name in section:
            under = getattr(command.get_command(top, name), "commands", None)
            yield from [f"{name} {verb}" for verb in under] if under is not None else [name]


def counterpart(command: str) -> str:
    noun, _, verb = command.partition(" ")
    usual = f"{NOUNS.get(noun, noun)}.{verb}" if verb else noun
    return OTHERWISE.get(command, usual)


def verbs(client: Any) -> set[str]:
    """Every public method, as `noun.verb` or `verb`."""
    nouns = {*NOUNS.values(), "apply", "collected", "journeys"}
    own = {name for name, _ in inspect.getmembers(type(client), inspect.isfunction)}
    found = {name for name in own if not name.startswith("_")}
    for noun in nouns:
        methods = inspect.getmembers(type(getattr(client, noun)), inspect.isfunction)
        found |= {f"{noun}.{name}" for name, _ in methods if not name.startswith("_")}
    return found


@pytest.fixture(params=[Client, AsyncClient])
def known(request: pytest.FixtureRequest, home: Home) -> set[str]:
    return verbs(request.param(home))


def test_every_command_has_its_verb(known: set[str]) -> None:
    there = list(commands())
    assert len(there) > 30
    lacking = {each for each in there if each not in WITHOUT and counterpart(each) not in known}
    assert lacking == set()
    assert set(OTHERWISE) | set(WITHOUT) <= set(there)  # the tables name nothing that has gone
    assert not {counterpart(each) for each in WITHOUT} & known


def test_every_verb_has_its_command(home: Home) -> None:
    there = {counterpart(each) for each in commands()}
    known = verbs(Client(home))
    assert known - there == set(MORE)


def test_both_clients_have_the_same_verbs(home: Home) -> None:
    omitted = {f"{noun.lower()}.{verb}" for noun, verb in OMITTED if noun != "Client"}
    assert verbs(Client(home)) - omitted == verbs(AsyncClient(home))


def test_a_doctor_from_python(home: Home) -> None:
    with Client(home) as client:
        checks = client.doctor(offline=True)
    assert {check.state for check in checks} <= {"ok", "warn", "fail"}
    assert "disk" in {check.name for check in checks}
    assert not home.root.exists()
