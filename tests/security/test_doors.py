"""The three servers as a stranger on this machine, or a web page in its browser, meets them."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

from phoundry.files import read_json
from tests.security.conftest import Fortress
from tests.support import offline

pytestmark = [pytest.mark.xdist_group("journey")]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OPEN = {"control plane": "/healthz", "gateway": "/healthz", "replica": "/health"}
OTHERS = {
    "gateway": ["/v1/models", "/v1/chat/completions", "/endpoints/colours/score", "/", "/x"],
    "replica": ["/v1/chat/completions", "/score", "/", "/x"],
}


def addresses(fortress: Fortress) -> dict[str, str]:
    server = fortress.server
    return {
        "control plane": server["url"],
        "gateway": server["gateway_url"],
        "replica": fortress.replica["url"],
    }


def paths(fortress: Fortress, name: str) -> list[str]:
    if name != "control plane":
        return OTHERS[name]
    headers = {"Authorization": f"Bearer {fortress.server['token']}"}
    url = f"{fortress.server['url']}/openapi.json"
    found = httpx.get(url, headers=headers, timeout=60, trust_env=False)
    described = [path.replace("{", "").replace("}", "") for path in found.json()["paths"]]
    assert len(described) > 20
    return [path for path in described if path != "/healthz"] + ["/openapi.json", "/docs", "/x"]


@pytest.mark.parametrize("name", OPEN)
def test_nothing_but_health_answers_a_stranger(fortress: Fortress, name: str) -> None:
    keys = {
        "control plane": fortress.server["token"],
        "gateway": fortress.key(),
        "replica": fortress.replica["token"],
    }
    foreign = [key for server, key in keys.items() if server != name]
    with httpx.Client(base_url=addresses(fortress)[name], timeout=60, trust_env=False) as client:
        assert client.get(OPEN[name]).status_code == 200
        for path in paths(fortress, name):
            for method in METHODS:
                assert client.request(method, path).status_code == 401, (method, path)
            for key in ("wrong", *foreign):  # what opens one server opens no other
                headers = {"Authorization": f"Bearer {key}", "api-key": key}
                assert client.post(path, headers=headers).status_code == 401, path


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize(
    "header",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1].evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
    ids=str,
)
def test_no_web_page_reaches_them(fortress: Fortress, name: str, header: dict[str, str]) -> None:
    with httpx.Client(base_url=addresses(fortress)[name], timeout=60, trust_env=False) as client:
        for path in (OPEN[name], *paths(fortress, name)[:3]):
            for method in METHODS:
                assert client.request(method, path, headers=header).status_code == 403


def listening(fortress: Fortress) -> set[tuple[str, int]]:
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in fortress.processes()
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    }


def test_they_listen_on_loopback_alone(fortress: Fortress) -> None:
    found = listening(fortress)
    assert {address for address, _ in found} == {"127.0.0.1"}
    assert len(found) == 4  # control plane, gateway, replica, and llama.cpp inside the replica


def test_llama_cpps_own_listener_answers_a_stranger_nothing(fortress: Fortress) -> None:
    ours = {int(address.rsplit(":", 1)[1]) for address in addresses(fortress).values()}
    (port,) = {port for _, port in listening(fortress)} - ours
    wanted = ["/completion", "/v1/chat/completions", "/v1/models", "/models", "/props", "/slots"]
    wanted += ["/metrics", "/tokenize", "/lora-adapters", "/api/tags", "/", "/index.html"]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
        for path in wanted:
            for method in ("GET", "POST", "PUT", "DELETE"):
                for key in ("wrong", fortress.replica["token"]):
                    headers = {"Authorization": f"Bearer {key}"}
                    answer = client.request(method, path, headers=headers, content=b"{}")
                    assert answer.status_code in (401, 404), (method, path)


def test_the_whole_journey_reaches_nothing_outside(fortress: Fortress) -> None:
    """Every process of it ran under a hook that refuses the network and notes who tried."""
    assert offline.attempts(fortress.network) == []
    for process in fortress.processes():
        assert process.environ()["OFFLINE_LOG"]  # the hook was there


def test_the_hook_does_refuse_and_note(fortress: Fortress) -> None:
    program = (
        "import socket\n"
        "for call in (lambda: socket.create_connection(('192.0.2.1', 80), 1),\n"
        "             lambda: socket.getaddrinfo('example.com', 80)):\n"
        "    try: call()\n"
        "    except OSError as error: print('no network' in str(error))\n"
    )
    environ = fortress.site.environ | {"OFFLINE_LOG": str(fortress.network / "other.jsonl")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "True"]
    assert len((fortress.network / "other.jsonl").read_text().splitlines()) == 2


def test_the_token_is_new_with_every_home_and_long(fortress: Fortress) -> None:
    token = read_json(fortress.site.home / "server.json")["token"]
    assert len(token) >= 43  # 32 random bytes
    assert len(fortress.key()) >= 43
