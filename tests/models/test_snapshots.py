"""Models of a hub: refused before gigabytes come, resumed, taken from the user's own cache."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import Forbidden, InvalidInput, Unavailable
from phoundry.files import read_json, sha256_file, write_json
from phoundry.models.materialize import materialize
from phoundry.models.snapshots import hub_folder
from phoundry.models.tensors import INDEX, SINGLE, sha256_weights
from tests.models.conftest import Maker
from tests.support.hub import Drop, Hub, Repo, WrongBytes, point, serve

PHI = "microsoft/Phi-3-mini-4k-instruct"
TINY = "someone/tiny"


@pytest.fixture
def source(tiny: Maker, copy: Callable[[Path], Path]) -> Path:
    """The repository's files; the same model as `TINY` and, as in the catalog, `PHI`."""
    return copy(tiny("phi3"))


@pytest.fixture
def hub(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    repos = {TINY: Repo(source), PHI: Repo(source), "someone/gated": Repo(source, gated=True)}
    with serve(repos) as served:
        point(monkeypatch, served.address, tmp_path)
        yield served


def made(tmp_path: Path, model: str = TINY, said: list[str] | None = None) -> dict[str, Any]:
    say = (lambda _: None) if said is None else said.append
    return materialize(model, tmp_path / "out", tmp_path / "cache", say)


def test_a_broken_download_goes_on_and_leaves_no_half_model(
    hub: Hub, source: Path, tmp_path: Path
) -> None:
    hub.fail(SINGLE, Drop(after=40_000))
    hub.fail(SINGLE, Drop(after=0), times=6)
    with pytest.raises(Unavailable, match="goes on from there"):
        made(tmp_path)
    assert not (tmp_path / "out").exists()
    assert made(tmp_path)["sha256"] == sha256_weights(source)
    assert hub.fetched(SINGLE)[-1].range == "bytes=40000-"
    assert len(hub.fetched("/config.json")) == 1
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_the_bytes_are_reported(hub: Hub, source: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    size = (source / SINGLE).stat().st_size
    hub_folder(TINY, tmp_path, lambda _: None, lambda *each: seen.append(each))
    assert seen[-1] == (SINGLE, size, size)


def test_shards_are_fetched_and_a_second_copy_of_the_weights_is_not(
    hub: Hub, source: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(source / SINGLE)
    names = sorted(weights)
    parts = {
        "model-00001-of-00002.safetensors": names[:5],
        "model-00002-of-00002.safetensors": names[5:],
    }
    for file, held in parts.items():
        save_file({name: weights[name] for name in held}, source / file)
    (source / SINGLE).rename(source / "consolidated.safetensors")
    (source / "original").mkdir()
    (source / "original" / SINGLE).write_bytes(b"another")
    index = {name: file for file, held in parts.items() for name in held}
    write_json(source / INDEX, {"metadata": {}, "weight_map": index})
    made(tmp_path)
    for file in parts:
        assert sha256_file(tmp_path / "out" / file) == sha256_file(source / file)
    assert not hub.fetched("consolidated.safetensors")
    assert not hub.fetched(f"original/{SINGLE}")
    (source / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InvalidInput, match=r"names model-00002-of-00002.safetensors"):
        hub_folder(TINY, tmp_path / "other", lambda _: None)


def _pickled(folder: Path) -> None:
    (folder / SINGLE).rename(folder / "pytorch_model.bin")


def _adapter(folder: Path) -> None:
    (folder / SINGLE).rename(folder / "adapter_model.safetensors")
    write_json(folder / "adapter_config.json", {})


def _gguf(folder: Path) -> None:
    (folder / SINGLE).rename(folder / "tiny-Q8_0.gguf")


def _config(**values: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        write_json(folder / "config.json", {**read_json(folder / "config.json"), **values})

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_pickled, r"only as pytorch_model\.bin, which run code"),
        (_adapter, r"phoundry model register NAME --path FOLDER"),
        (_gguf, r"download one, such as tiny-Q8_0\.gguf"),
        (_config(auto_map={"AutoModel": "modeling.py"}), "auto_map"),
        (_config(model_type="gpt2"), "'gpt2' is not supported"),
        (lambda folder: (folder / "config.json").unlink(), r"no config\.json"),
    ],
)
def test_what_will_not_do_is_refused_before_its_weights_come(
    spoil: Callable[[Path], None], message: str, hub: Hub, source: Path, tmp_path: Path
) -> None:
    spoil(source)
    with pytest.raises(InvalidInput, match=message):
        made(tmp_path)
    big = [each for each in hub.requests if each.path.endswith((".safetensors", ".bin", ".gguf"))]
    assert big == []
    assert not (tmp_path / "out").exists()


def test_a_model_of_the_catalog_needs_no_code_of_its_own(
    hub: Hub, source: Path, tmp_path: Path
) -> None:
    _config(auto_map={"AutoConfig": "configuration_phi3.Phi3Config"})(source)
    (source / "configuration_phi3.py").write_text("raise SystemExit")
    said: list[str] = []
    made(tmp_path, PHI, said)
    config = read_json(tmp_path / "out" / "config.json")
    assert "auto_map" not in config
    assert config["model_type"] == "phi3"
    assert not hub.fetched("configuration_phi3.py")
    assert any("code of its own" in message for message in said)


def test_a_gated_model_is_refused_and_comes_with_a_token(
    hub: Hub, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Forbidden, match="gated"):
        made(tmp_path, "someone/gated")
    monkeypatch.setenv("HF_TOKEN", hub.repos["someone/gated"].token)
    assert made(tmp_path, "someone/gated")["sha256"] == sha256_weights(source)
    for path in tmp_path.glob("out/*"):
        assert hub.repos["someone/gated"].token.encode() not in path.read_bytes()


def cached(home: Path, source: Path, hub_id: str = TINY) -> Path:
    """A snapshot in the user's cache, laid out as huggingface_hub does; the folder of blobs."""
    folder = home / "hub" / f"models--{hub_id.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("c" * 40)
    for part in (folder / "refs", folder / "blobs", snapshot):
        part.mkdir(parents=True)
    (folder / "refs" / "main").write_text("c" * 40)
    for path in source.iterdir():
        blob = folder / "blobs" / sha256_file(path)
        shutil.copyfile(path, blob)
        (snapshot / path.name).symlink_to(Path("..") / ".." / "blobs" / blob.name)
    return folder / "blobs"


def test_the_users_own_cache_is_used_without_the_network(
    hub: Hub, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = cached(tmp_path / "hf", source)
    before = {path.name: sha256_file(path) for path in blobs.iterdir()}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said: list[str] = []
    assert made(tmp_path, said=said)["sha256"] == sha256_weights(source)
    assert hub.requests == []
    assert "from the cache of Hugging Face" in said[0]
    assert {path.name: sha256_file(path) for path in blobs.iterdir()} == before


def test_what_huggingface_hub_itself_has_cached_is_found(
    hub: Hub, source: Path, tmp_path: Path
) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(TINY, cache_dir=tmp_path / "hf" / "hub", endpoint=hub.address)
    hub.requests.clear()
    assert made(tmp_path)["sha256"] == sha256_weights(source)
    assert hub.requests == []


def test_a_damaged_cache_is_noticed_and_the_model_fetched_anew(
    hub: Hub, source: Path, tmp_path: Path
) -> None:
    blobs = cached(tmp_path / "hf", source)
    weights = blobs / sha256_file(source / SINGLE)
    weights.write_bytes(weights.read_bytes()[:-100])
    said: list[str] = []
    assert made(tmp_path, said=said)["sha256"] == sha256_weights(source)
    assert any("damaged" in message for message in said)
    assert hub.fetched(SINGLE)


def test_a_cache_that_is_not_whole_is_not_taken_for_one(
    hub: Hub, source: Path, tmp_path: Path
) -> None:
    blobs = cached(tmp_path / "hf", source)
    (blobs / sha256_file(source / SINGLE)).unlink()
    assert made(tmp_path)["sha256"] == sha256_weights(source)
    assert hub.fetched(SINGLE)


def test_offline_without_a_copy_says_what_there_is(
    hub: Hub, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(tmp_path / "hf", source, "someone/else")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE is set") as refused:
        made(tmp_path)
    assert "someone/else" in str(refused.value.remedy)
    assert "smollm2-135m-instruct needs no hub" in str(refused.value.remedy)
    assert hub.requests == []


def test_a_hub_that_sends_other_weights_leaves_nothing(hub: Hub, tmp_path: Path) -> None:
    hub.fail(SINGLE, WrongBytes(), times=2)
    with pytest.raises(InvalidInput, match="is not what the hub lists"):
        made(tmp_path)
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_newer_commit_replaces_what_was_begun(hub: Hub, source: Path, tmp_path: Path) -> None:
    hub.fail(SINGLE, Drop(after=1000))
    hub.fail(SINGLE, Drop(after=0), times=6)
    with pytest.raises(Unavailable):
        made(tmp_path)
    config = json.loads((source / "config.json").read_text()) | {"note": "new"}
    write_json(source / "config.json", config)
    made(tmp_path)
    assert read_json(tmp_path / "out" / "config.json")["note"] == "new"
    assert len(list((tmp_path / "cache" / "hub" / "someone--tiny").iterdir())) == 0
