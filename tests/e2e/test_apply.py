"""`phoundry apply` with a tiny model and real workers, its control plane killed at every step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from phoundry.client import Client
from phoundry.errors import PhoundryError
from phoundry.files import read_json
from phoundry.specs.journey import Journey
from tests.support.site import Site, new_site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("apply")]
LONG = ("train", "register", "deploy")  # the others are over within a tick


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Where all of this module is applied; the first to come finds nothing there."""
    made = new_site(tmp_path_factory.mktemp("apply"))
    try:
        yield made
    finally:
        made.run("down")


@pytest.fixture
def fresh(applied: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Where nothing was applied yet: the place of all tests while that is so."""
    if not applied.home.exists():
        yield applied
        return
    made = new_site(tmp_path_factory.mktemp("fresh"))
    try:
        yield made
    finally:
        made.run("down")


@pytest.fixture
def place(applied: Site) -> Site:
    """Where the file as it was at first is applied, whatever a test before has changed."""
    applied.ok("apply", "-f", str(write(applied)), "-y")
    return applied


def write(site: Site, **changes: str) -> Path:
    values = {"epochs": "2", "prompt": "Answer shortly."} | changes
    path = site.data.parent / "phoundry.yaml"
    path.write_text(
        "name: colours\n"
        f"data: {{source: {site.data.name}}}\n"
        f"model: ./{site.model.name}\n"
        f"finetune: {{num_train_epochs: {values['epochs']}, learning_rate: 1e-3, lora_r: 4, "
        'apply_lora: "true"}\n'
        "deployment:\n"
        "  gate: false\n"  # two passes over random weights are no model to compare with
        f"  defaults: {{system_prompt: {values['prompt']}, max_tokens: 12}}\n"
        "flow: chat\n"
    )
    return path


def begin(site: Site, file: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "phoundry", "apply", "-f", str(file), "-y"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(words, env=site.environ, stdin=quiet, stdout=quiet, stderr=quiet)


def look(client: Client) -> Journey | None:
    try:
        return client.journeys.show("colours")
    except PhoundryError:  # it has not begun, or nobody answers just now
        return None


def kill_control_plane(site: Site) -> None:
    """SIGKILL, and wait until it is gone; its workers go on."""
    record = read_json(site.home / "server.json")
    process = psutil.Process(record["pid"])
    os.kill(record["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 60
    # Its parent, a command that waits for it to return, may not have taken note of its end.
    with suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def walk_until(site: Site, client: Client, command: subprocess.Popen[bytes], done: set[str]) -> str:
    """Wait until a step runs at which nothing was killed yet; its name, or `done` or `failed`."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        journey = look(client)
        if journey and journey.state != "running" and command.poll() is not None:
            return journey.state
        for step in journey.steps if journey else []:
            if step.state == "running" and step.name not in done:
                return step.name
        time.sleep(0.05)
    raise AssertionError(f"it does not end: {look(client)}")


def test_killed_at_every_step_and_repeated_it_arrives_once(fresh: Site) -> None:
    place = fresh
    file = write(place)
    client = Client(place.home)
    killed: set[str] = set()
    command = begin(place, file)
    while (step := walk_until(place, client, command, killed)) not in ("done", "failed"):
        kill_control_plane(place)
        if killed:
            command.kill()  # as where the machine is switched off
        command.wait(timeout=120)  # else it waits a while, and says that Phoundry was stopped
        killed.add(step)
        command = begin(place, file)
    assert step == "done"
    assert killed >= set(LONG)
    assert [job["status"] for job in place.json("job", "list")] == ["Completed"]
    registered = place.json("model", "list", "--registered")
    assert [(each["name"], each["version"]) for each in registered] == [("colours", "1")]
    assert len(place.json("data", "list")) == 1
    assert place.json("endpoint", "show", "colours")["traffic"] == {"tuned-1": 100}


def test_a_second_apply_has_nothing_to_do(place: Site) -> None:
    done = place.run("apply", "-f", str(write(place)))
    assert done.returncode == 0, done.stderr
    assert "Nothing to do." in done.stderr
    written = place.ok("get", "colours")
    again = place.run("apply", "-f", "-", stdin=written)
    assert "Nothing to do." in again.stderr, again.stdout


def test_changed_defaults_are_in_force_without_a_restart(place: Site) -> None:
    before = place.json("deployment", "show", "colours/tuned-1")
    place.ok("apply", "-f", str(write(place, prompt="Answer in rhyme.")), "-y")
    after = place.json("deployment", "show", "colours/tuned-1")
    assert after["defaults"]["system_prompt"] == "Answer in rhyme."
    assert after["pid"] == before["pid"]


def test_changed_parameters_are_planned_and_deployed_beside_the_live_one(place: Site) -> None:
    file = write(place, epochs="3")
    plan = json.loads(place.ok("apply", "-f", str(file), "--dry-run", "-o", "json"))
    found = {item["kind"]: item for item in plan["items"]}
    job = place.json("job", "list")[0]
    (started,) = [
        e for e in place.json("job", "show", job["name"])["events"] if e["kind"] == "started"
    ][-1:]
    forecast = found["job"]["forecast"]
    assert forecast["about"] is False
    assert forecast["tokens"] == started["data"]["tokens_per_epoch"]
    assert forecast["seconds"] > 0
    assert job["name"] in forecast["basis"]
    assert found["deployment"]["name"] == "colours/tuned-2"
    assert len(place.json("job", "list")) == 1
    _apply_beside_the_live_one(place, file)


def _apply_beside_the_live_one(place: Site, file: Path) -> None:
    done = place.run("apply", "-f", str(file), "-y")
    assert done.returncode == 0, done.stderr
    assert "phoundry endpoint update colours --traffic tuned-2=100" in done.stderr
    assert place.json("endpoint", "show", "colours")["traffic"] == {"tuned-1": 100}
    assert place.json("deployment", "show", "colours/tuned-2")["provisioning_state"] == "Succeeded"
