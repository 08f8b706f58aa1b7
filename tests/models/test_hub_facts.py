"""A model of the hub, looked at without its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import Forbidden, InvalidInput, NotFound, Unavailable
from phoundry.models.checkpoints import read_config
from phoundry.models.hub_facts import look
from phoundry.models.snapshots import hub_folder
from tests.models.conftest import Maker
from tests.support import hub


@dataclass
class Carded(hub.Repo):
    """A repository whose description has what a model card's head tells."""

    card: dict[str, Any] = field(default_factory=dict[str, Any])

    def info(self, hub_id: str) -> dict[str, Any]:
        return super().info(hub_id) | {"cardData": self.card}


@pytest.fixture
def checkpoint(tiny: Maker, copy: Callable[[Path], Path]) -> Path:
    return copy(tiny("qwen3"))


def test_nothing_of_the_weights_is_fetched(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = {"license": "other", "license_name": "ours", "license_link": "https://ours.example"}
    weights = checkpoint / "model.safetensors"
    (checkpoint / "consolidated.safetensors").write_bytes(weights.read_bytes())
    with hub.serve({"someone/tiny": Carded(checkpoint, card=card)}) as served:
        hub.point(monkeypatch, served.address, tmp_path)
        found = look("someone/tiny", tmp_path / "cache")
        assert not served.fetched(".safetensors")
    view = found.view
    assert view.usable, view.obstacle
    assert (view.licence, view.licence_url, view.gated) == ("ours", "https://ours.example", False)
    assert view.download_bytes == weights.stat().st_size
    assert (view.architecture, view.template) == ("qwen3", "chatml")
    assert view.parameters > 0
    assert found.config
    assert view.source == "hub:someone/tiny"


def test_without_the_network_what_was_kept_is_told(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = Carded(checkpoint, card={"license": "mit"})
    with hub.serve({"someone/tiny": repo}) as served:
        hub.point(monkeypatch, served.address, tmp_path)
        first = look("someone/tiny", tmp_path / "cache").view
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = look("someone/tiny", tmp_path / "cache").view
    assert again.model_copy(update={"notes": []}) == first
    assert "cannot be reached" in again.notes[0]
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE"):
        look("someone/other", tmp_path / "cache")


def test_without_the_network_the_users_own_cache_is_told(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.point(monkeypatch, "http://127.0.0.1:9", tmp_path)
    cached = tmp_path / "hf" / "hub" / "models--someone--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0123")
    (cached / "snapshots").mkdir()
    checkpoint.rename(cached / "snapshots" / "0123")
    view = look("someone/tiny", tmp_path / "cache").view
    assert (view.architecture, view.usable) == ("qwen3", True)
    with pytest.raises(Unavailable, match="cannot be reached"):
        look("someone/other", tmp_path / "cache")


def test_a_gated_model_says_where_to_accept_its_terms(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub.serve({"someone/shut": Carded(checkpoint, gated=True)}) as served:
        hub.point(monkeypatch, served.address, tmp_path)
        with pytest.raises(Forbidden, match=f"{served.address}/someone/shut"):
            look("someone/shut", tmp_path / "cache")
        monkeypatch.setenv("HF_TOKEN", "hf_the_right_one")
        assert look("someone/shut", tmp_path / "cache").view.gated


def test_an_unknown_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub.serve({}) as served:
        hub.point(monkeypatch, served.address, tmp_path)
        with pytest.raises(NotFound, match="has no model 'someone/none'"):
            look("someone/none", tmp_path / "cache")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"auto_map": {"AutoModel": "x.Y"}},
            "wants to run its own Python code. config.json: 'auto_map'",
        ),
        (
            {"quantization_config": {"quant_method": "gptq"}},
            "weights in someone/tiny are quantised (gptq)",
        ),
        ({"model_type": "bert"}, "'bert' is not supported"),
    ],
)
def test_what_cannot_be_used_is_told(
    change: dict[str, Any],
    said: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | change))
    with hub.serve({"someone/tiny": Carded(checkpoint)}) as served:
        hub.point(monkeypatch, served.address, tmp_path)
        view = look("someone/tiny", tmp_path / "cache").view
    assert not view.usable
    assert said in (view.obstacle or "")


def test_code_of_its_own_is_judged_as_when_it_is_fetched(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left out for a model of the catalog, wherever it is named; a refusal for all others."""
    ours = "Qwen/Qwen3-0.6B"
    (checkpoint / "generation_config.json").write_text('{"auto_map": {"X": "x.Y"}}')
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"auto_map": {"X": "x.Y"}}))
    repos = {ours: Carded(checkpoint), "someone/tiny": Carded(checkpoint)}
    with hub.serve(repos) as served:
        hub.point(monkeypatch, served.address, tmp_path)
        view = look(ours, tmp_path / "cache").view
        assert view.usable
        assert view.notes == ["It names code of its own; that is left out, qwen3-0.6b needs none."]
        assert "auto_map" not in read_config(hub_folder(ours, tmp_path / "models", print))
        config.pop("auto_map", None)
        (checkpoint / "config.json").write_text(json.dumps(config))
        refused = look("someone/tiny", tmp_path / "cache").view.obstacle or ""
        assert "generation_config.json: 'auto_map'" in refused
        with pytest.raises(InvalidInput, match="generation_config"):
            hub_folder("someone/tiny", tmp_path / "models", print)
        assert all(ours in each.path for each in served.fetched("model.safetensors"))


def test_pickles_alone_are_told(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with hub.serve({"someone/old": Carded(checkpoint)}) as served:
        hub.point(monkeypatch, served.address, tmp_path)
        view = look("someone/old", tmp_path / "cache").view
    assert "pytorch_model.bin" in (view.obstacle or "")
    assert view.download_bytes is None


def test_no_config(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkpoint / "config.json").unlink()
    with hub.serve({"someone/bare": Carded(checkpoint)}) as served:
        hub.point(monkeypatch, served.address, tmp_path)
        with pytest.raises(InvalidInput, match=r"no config\.json"):
            look("someone/bare", tmp_path / "cache")
