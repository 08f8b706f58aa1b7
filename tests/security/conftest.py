"""A whole journey on a machine without a network, full of secrets that must not get out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from phoundry.files import read_json
from tests.support.site import Site, Walked

CONNECTION_SECRET = "canary-of-a-connection-7f3a91"
TOOL = """\
import json, os, sys
from promptflow import tool
from promptflow.connections import CustomConnection

@tool
def look(question: str, vault: CustomConnection) -> str:
    print("the key is", vault.canary)
    seen = {"argv": sys.orig_argv, "environ": dict(os.environ), "parent": _parent()}
    if question == "fail":
        raise ValueError(f"refused {vault.canary}")
    return json.dumps(seen)

def _parent():
    with open(f"/proc/{os.getppid()}/cmdline") as file:
        return file.read()
"""
FLOW = """\
inputs:
  question: {type: string}
outputs:
  answer: {type: string, reference: "${look.output}"}
nodes:
- name: look
  type: python
  source: {type: code, path: look.py}
  inputs: {question: "${inputs.question}", vault: vault}
"""


@dataclass(frozen=True)
class Fortress:
    """`site` after `phoundry up`; `network` is where attempts to leave the machine are noted."""

    site: Site
    network: Path
    flow: Path

    @property
    def server(self) -> dict[str, Any]:
        return read_json(self.site.home / "server.json")

    @property
    def replica(self) -> dict[str, Any]:
        """Address and token of the one replica."""
        routes = read_json(self.site.home / "gateway" / "routes.json")
        deployment = next(iter(routes["endpoints"]["colours"]["deployments"].values()))
        return deployment["replicas"][0]

    def key(self) -> str:
        return str(self.site.json("endpoint", "keys", "colours")["primaryKey"])

    def secrets(self) -> dict[str, str]:
        """Every secret of this home, by what it opens."""
        keys = self.site.json("endpoint", "keys", "colours")
        return {
            "connection": CONNECTION_SECRET,
            "endpoint": keys["primaryKey"],
            "endpoint (secondary)": keys["secondaryKey"],
            "replica": self.replica["token"],
            "control plane": self.server["token"],
        }

    def processes(self) -> list[psutil.Process]:
        """The control plane and everything that it started, once nothing else runs than the
        gateway and the replica: what a command has begun may end a moment after it."""
        home, until = str(self.site.home), time.monotonic() + 60
        while True:
            found = [
                process
                for process in psutil.process_iter(["cmdline"])
                if any(word.startswith(home) for word in process.info["cmdline"] or [])
            ]
            if len(found) == 3 or time.monotonic() > until:
                return found
            time.sleep(0.05)


@pytest.fixture(scope="session")
def fortress(walked: Walked, tmp_path_factory: pytest.TempPathFactory) -> Fortress:
    flow = tmp_path_factory.mktemp("flow")
    (flow / "flow.dag.yaml").write_text(FLOW)
    (flow / "look.py").write_text(TOOL)
    create = ("connection", "create", "vault", "--secret", "canary", "--secret-stdin")
    walked.site.ok(*create, stdin=CONNECTION_SECRET)
    return Fortress(walked.site, walked.network, flow)
