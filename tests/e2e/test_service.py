"""What the unit runs is a real control plane, and its deployments return with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.compute.test_autostart import environment, read, unquoted
from tests.support.site import Site, new_site


class Supervisor:
    """Runs a unit as systemd would: its command, its environment, SIGINT at the end."""

    def __init__(self, unit: Path, base: dict[str, str]) -> None:
        found = read(unit.read_text())
        self._command = unquoted(found["ExecStart"][0])
        self._environ = base | environment(found)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        self._process = subprocess.Popen(
            self._command, env=self._environ, stderr=subprocess.DEVNULL, start_new_session=True
        )
        return self._process.pid

    def stop(self, number: int = signal.SIGINT) -> int:
        assert self._process
        self._process.send_signal(number)
        return self._process.wait(90)


def wait_until_ready(site: Site, pid: int) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        found = site.json("status")
        if found["running"] and any(each["kind"] == "replica" for each in found["processes"]):
            shown = site.json("deployment", "show", "faq/blue")
            if shown["provisioning_state"] == "Succeeded" and _answers(site):
                return
        time.sleep(0.5)
    raise AssertionError(f"process {pid} brought no deployment back")


def _answers(site: Site) -> bool:
    return site.run("chat", "faq", "--message", "What is red?").returncode == 0


def check_update(site: Site) -> None:
    """New defaults hold at once, and in the same process."""
    before = site.json("deployment", "show", "faq/blue")
    assert 1 < longest_answer(site) <= 9
    site.ok("deployment", "update", "faq/blue", "--max-tokens", "1")
    after = site.json("deployment", "show", "faq/blue")
    assert (after["pid"], after["restarts"]) == (before["pid"], 0)
    assert (before["defaults"]["max_tokens"], after["defaults"]["max_tokens"]) == (9, 1)
    assert longest_answer(site) == 1
    refused = site.run("deployment", "update", "faq/blue", "--max-tokens", "513")
    assert refused.returncode == 1
    assert "513; the context of this deployment is 512 tokens" in refused.stderr


def longest_answer(site: Site) -> int:
    """Tokens of the longest of some answers by chance; the model is tiny and may end at once."""
    endpoint = site.json("endpoint", "show", "faq")
    key = site.json("endpoint", "keys", "faq")["primaryKey"]
    messages: Any = [{"role": "user", "content": "What is red?"}]
    with httpx.Client(trust_env=False, timeout=60) as http:
        client = OpenAI(base_url=endpoint["openai_base_url"], api_key=key, http_client=http)
        replies = [
            client.chat.completions.create(model="faq", messages=messages, temperature=2, seed=seed)
            for seed in range(8)
        ]
    return max(reply.usage.completion_tokens if reply.usage else -1 for reply in replies)


@pytest.mark.slow
def test_deployments_return_with_the_service(tmp_path: Path) -> None:
    site = new_site(tmp_path)
    site.environ["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    base = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    # In a process of its own: what it installs depends on how it was called itself.
    made = json.loads(site.ok("service", "install", "--no-start", "-o", "json"))
    supervisor = Supervisor(Path(made["path"]), base)
    pid = supervisor.start()
    try:
        while not site.json("status")["running"]:
            time.sleep(0.2)
        site.ok("endpoint", "create", "faq")
        site.ok("deployment", "create", "faq/blue", "--model", str(site.model), "--max-tokens", "9")
        check_update(site)
        assert supervisor.stop() in (0, 130)
        assert site.json("status")["processes"] == []
        pid = supervisor.start()
        wait_until_ready(site, pid)
        assert supervisor.stop(signal.SIGKILL) == -signal.SIGKILL  # a crash: workers stay
        pid = supervisor.start()
        wait_until_ready(site, pid)
        second = site.run("up", "--foreground")
        assert second.returncode == 1
        assert "`phoundry down` first" in second.stderr
        assert supervisor.stop() in (0, 130)
    finally:
        site.run("down")
