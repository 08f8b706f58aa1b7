"""Asking a hub what it has, and being told no."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from phoundry.errors import Forbidden, NotFound, Unavailable
from phoundry.hub.download import download
from phoundry.hub.kinds import DATASET, MODEL
from phoundry.hub.listing import list_files
from tests.support.hub import Hub, Refuse, Repo, point, serve


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("open", "gated", "private"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
    repos = {
        "someone/open": Repo(tmp_path / "open"),
        "someone/gated": Repo(tmp_path / "gated", gated=True),
        "someone/private": Repo(tmp_path / "private", private=True),
    }
    with serve(repos) as served:
        point(monkeypatch, served.address, tmp_path)
        yield served


def fetch(hub_id: str, folder: Path) -> None:
    listing = list_files(hub_id, MODEL)
    download(listing, listing.files, folder, say=lambda _: None)


def test_what_is_listed(hub: Hub) -> None:
    listing = list_files("someone/open", MODEL)
    assert listing.commit == hub.repos["someone/open"].commit()
    [file] = listing.files
    assert (file.path, file.size, len(file.sha256 or "")) == ("model.safetensors", 7, 64)


def test_a_name_that_nobody_has(hub: Hub) -> None:
    with pytest.raises(NotFound, match="has no model 'someone/other'") as refused:
        list_files("someone/other", MODEL)
    assert hub.address in refused.value.message
    assert "HF_TOKEN" in str(refused.value.remedy)
    with pytest.raises(NotFound, match="has no data set 'someone/open'"):
        list_files("someone/open", DATASET)
    with pytest.raises(NotFound):
        list_files("someone/../open", MODEL)


def test_a_gated_model(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = f"{hub.address}/someone/gated"
    with pytest.raises(Forbidden, match="gated") as refused:
        fetch("someone/gated", tmp_path / "out")
    assert page in str(refused.value.remedy)
    assert "set HF_TOKEN" in str(refused.value.remedy)
    assert "after `phoundry down`" in str(refused.value.remedy)
    monkeypatch.setenv("HF_TOKEN", "hf_canary_of_somebody_else")
    with pytest.raises(Forbidden, match="the account of HF_TOKEN is not let in") as refused:
        fetch("someone/gated", tmp_path / "out")
    assert page in str(refused.value.remedy)
    assert "canary" not in str(refused.value)
    monkeypatch.setenv("HF_TOKEN", hub.repos["someone/gated"].token)
    fetch("someone/gated", tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == b"weights"


def test_a_private_model(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match="someone/private"):
        fetch("someone/private", tmp_path / "out")
    monkeypatch.setenv("HF_TOKEN", hub.repos["someone/private"].token)
    fetch("someone/private", tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_offline_says_so_and_what_is_cached(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hf" / "hub" / "models--someone--cached" / "snapshots" / "abc").mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE is set") as refused:
        list_files("someone/open", MODEL)
    assert "someone/cached" in str(refused.value.remedy)
    assert hub.requests == []


def test_nobody_at_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 cannot be reached") as refused:
        list_files("someone/open", MODEL)
    assert "HF_ENDPOINT" in str(refused.value.remedy)


def test_a_hub_that_is_busy_for_a_moment(hub: Hub) -> None:
    hub.fail("/api/models/someone/open", Refuse(503), times=2)
    assert list_files("someone/open", MODEL).files
    hub.fail("/api/models/someone/open", Refuse(500), times=50)
    with pytest.raises(Unavailable, match="answered 500"):
        list_files("someone/open", MODEL)
