"""What of a flow's folder is copied, and what stays where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.flows.batch.snapshot import flow_files, flow_sha256, holds_secrets, keep_snapshot
from phoundry.flows.load import load_flow

CANARY = "canary-9d1f7e"
PRIVATE = [
    ".env", ".env.local", "prod.env", "config/.ENV", "tls/server.key", "tls/server.PEM",
    "tls/chain.crt", "store.p12", "id_rsa", ".netrc", ".pypirc",
]  # fmt: skip


@pytest.fixture
def with_keys(flow: Path) -> Path:
    """A flow whose folder, and whose included folder, hold files with keys."""
    shared = flow.parent / "shared"
    for root in (flow, shared):
        for name in PRIVATE:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(f"TOKEN={CANARY}")
        (root / "keyboard.txt").write_text("kept")
    (flow.parent / "alone.pem").write_text(CANARY)
    with (flow / "flow.dag.yaml").open("a") as file:
        file.write("additional_includes:\n- ../shared\n- ../alone.pem\n")
    return flow


def test_a_snapshot_holds_no_file_with_keys(with_keys: Path, tmp_path: Path) -> None:
    keep_snapshot(load_flow(with_keys), tmp_path / "copy")
    copied = [path for path in (tmp_path / "copy").rglob("*") if path.is_file()]
    assert {path.name for path in copied} == {
        "flow.dag.yaml", "half.py", "mean.py", "keyboard.txt",
    }  # fmt: skip
    assert not [path for path in copied if CANARY in path.read_text()]


def test_what_is_left_out_does_not_change_the_hash(with_keys: Path) -> None:
    before = flow_sha256(load_flow(with_keys))
    (with_keys / ".env").write_text("TOKEN=another")
    assert flow_sha256(load_flow(with_keys)) == before
    (with_keys / "half.py").write_text((with_keys / "half.py").read_text() + "\n")
    assert flow_sha256(load_flow(with_keys)) != before


def test_the_definition_itself_is_always_there(flow: Path) -> None:
    loaded = load_flow(flow)
    assert (loaded.file, Path("flow.dag.yaml")) in flow_files(loaded)


@pytest.mark.parametrize(
    "name", ["environment.py", "env.txt", "keys.jsonl", "monkey", "pem.py", "a.env.md"]
)
def test_names_that_only_resemble_are_kept(name: str) -> None:
    assert not holds_secrets(name)
