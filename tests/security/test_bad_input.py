"""Input that must be refused, typed at the command line or sent to an endpoint as users would."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.security.conftest import Fortress
from tests.support.site import Site

pytestmark = [pytest.mark.xdist_group("journey")]
WEIGHTS = "model.safetensors"


def _as_pickle(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder / name)

    return change


def _auto_map(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / name).read_text())
        config["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}
        (folder / name).write_text(json.dumps(config))
        (folder / "evil.py").write_text("open('ran', 'w').write('x')")

    return change


def _link_out(folder: Path) -> None:
    outside = folder.parent / "outside.safetensors"
    (folder / WEIGHTS).rename(outside)
    (folder / WEIGHTS).symlink_to(outside)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_as_pickle("pytorch_model.bin"), "pytorch_model.bin, which run code when read"),
        (_as_pickle("model.pkl"), "model.pkl, which run code when read"),
        (_auto_map("config.json"), "config.json: 'auto_map' asks for code of its own"),
        (_auto_map("tokenizer_config.json"), "'auto_map' asks for code of its own"),
        (_link_out, "a link to a place outside"),
    ],
    ids=["bin", "pkl", "auto_map", "tokenizer", "link"],
)
def test_a_model_with_code_or_links_trains_nothing(
    fortress: Fortress, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(fortress.site.model, folder)
    change(folder)
    done = fortress.site.run("train", str(folder), "colours:1", "--set", "num_train_epochs=1")
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    kept = [path.name for path in (fortress.site.home / "checkpoints").iterdir()]
    assert len(kept) == 1  # the good one: nothing half-made of the bad one


@pytest.mark.parametrize(
    "words",
    [
        ("data", "create", "../../x", "--source", "{data}"),
        ("endpoint", "create", "../../x"),
        ("deployment", "create", "colours/..", "--model", "colours"),
        ("model", "register", "../x", "--job", "x"),
        ("connection", "create", "../x", "--set", "a=b"),
        ("connection", "show", "../endpoints"),
        ("job", "show", "../../status"),
        ("job", "logs", "../../../etc/passwd"),
        ("endpoint", "keys", "..%2f.."),
        ("flow", "test", "/etc"),
        ("train", "file:///etc/passwd", "colours"),
        ("train", "azureml://x/../../etc", "colours"),
        ("train", "{model}", "file:///etc/passwd"),
    ],
    ids=" ".join,
)
def test_names_that_are_paths_find_and_make_nothing(
    fortress: Fortress, words: tuple[str, ...]
) -> None:
    site = fortress.site
    named = [w.replace("{data}", str(site.data)).replace("{model}", str(site.model)) for w in words]
    before = sorted(path.name for path in site.home.parent.iterdir())
    done = site.run(*named, "-o", "json") if "logs" not in words else site.run(*named)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "root:" not in done.stdout + done.stderr
    assert sorted(path.name for path in site.home.parent.iterdir()) == before


def post(fortress: Fortress, endpoint: str = "colours", **changes: Any) -> httpx.Response:
    key = fortress.site.json("endpoint", "keys", endpoint)["primaryKey"]
    url = f"{fortress.server['gateway_url']}/endpoints/{endpoint}/score"
    headers = {"Authorization": f"Bearer {key}"} | changes.pop("headers", {})
    return httpx.post(url, headers=headers, timeout=60, trust_env=False, **changes)


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (401, {"json": {}, "headers": {"Authorization": "Bearer wrong"}}),
        (400, {"content": b"{not json"}),
        (400, {"content": b"\xff\xfe"}),
        (400, {"content": b"[" * 100_000}),
        (400, {"json": {"input_data": {"input_string": "no list"}}}),
        (413, {"content": b" " * (5 << 20)}),
        (431, {"json": {}, "headers": {"X-Filler": "x" * 100_000}}),
    ],
    ids=str,
)
def test_requests_that_cannot_be_answered(
    fortress: Fortress, status: int, changes: dict[str, Any]
) -> None:
    answer = post(fortress, **changes)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_an_endpoint_whose_replica_never_came_up_is_503(fortress: Fortress, tmp_path: Path) -> None:
    site, folder = fortress.site, tmp_path / "model"
    shutil.copytree(site.model, folder)
    (folder / WEIGHTS).unlink()
    site.ok("endpoint", "create", "unready")
    done = site.run("deployment", "create", "unready/blue", "--model", str(folder))
    assert done.returncode == 1
    # It never had traffic; named, it is there and cannot answer.
    assert post(fortress, "unready", json={}).status_code == 404
    answer = post(fortress, "unready", json={}, headers={"azureml-model-deployment": "blue"})
    assert answer.status_code == 503
    assert "phoundry deployment show blue" in answer.json()["error"]["message"]
    site.ok("endpoint", "delete", "unready", "-y")


def test_a_flow_without_its_connection(fortress: Fortress, tmp_path: Path) -> None:
    site = fortress.site
    flow = tmp_path / "flow"
    shutil.copytree(fortress.flow, flow)
    file = flow / "flow.dag.yaml"
    file.write_text(file.read_text().replace("vault: vault", "vault: vaults"))
    done = site.run("flow", "test", str(flow), "--inputs", "question=look")
    assert done.returncode == 1
    assert "Did you mean vault?" in done.stderr
    assert "phoundry connection" in done.stderr


def _elsewhere(site: Site, root: Path, **variables: str) -> Site:
    environ = site.environ | {"PHOUNDRY_HOME": str(root / "other")} | variables
    return dataclasses.replace(site, home=root / "other", environ=environ)


@pytest.mark.parametrize("variable", ["PHOUNDRY_PORT", "PHOUNDRY_GATEWAY_PORT"])
def test_a_port_in_use_is_named_and_nothing_is_left_running(
    fortress: Fortress, tmp_path: Path, free_ports: tuple[int, int], variable: str
) -> None:
    taken = fortress.site.environ[variable]
    ports = {"PHOUNDRY_PORT": str(free_ports[0]), "PHOUNDRY_GATEWAY_PORT": str(free_ports[1])}
    other = _elsewhere(fortress.site, tmp_path, **(ports | {variable: taken}))
    done = other.run("up")
    assert done.returncode == 1
    assert f"Port {taken}" in done.stderr
    assert other.json("status")["running"] is False


def test_an_address_of_the_network_is_refused(fortress: Fortress, tmp_path: Path) -> None:
    done = _elsewhere(fortress.site, tmp_path, PHOUNDRY_HOST="0.0.0.0").run("up")
    assert done.returncode == 2
    assert "TLS" in done.stderr


def test_a_second_up_beside_a_running_one(fortress: Fortress) -> None:
    before = fortress.server["pid"]
    refused = fortress.site.run("up", "--foreground")
    assert refused.returncode == 1
    assert "runs on" in refused.stderr
    assert "phoundry down" in refused.stderr
    fortress.site.ok("up")  # without --foreground it is what was asked for
    assert fortress.server["pid"] == before
