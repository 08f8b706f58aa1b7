"""What a card may name: a stranger's card leads neither to addresses nor to other files here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from phoundry.data.hub import fetch_dataset
from phoundry.errors import InvalidInput
from tests.support.hub import Hub, Repo, point, serve

ROW = json.dumps({"prompt": "a", "completion": "b"}) + "\n"


def data_set(folder: Path, configs: str, name: str = "README.md") -> None:
    folder.mkdir()
    (folder / "a.jsonl").write_text(ROW)
    fence = "---\n" if name == "README.md" else ""
    (folder / name).write_text(f"{fence}configs:\n- config_name: default\n  {configs}\n{fence}")


def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str | None = None) -> Hub:
    """Fetches the data set in `tmp_path / "bad"` and returns the hub that was asked."""
    with serve({"someone/bad": Repo(tmp_path / "bad", kind="dataset")}) as hub:
        point(monkeypatch, hub.address, tmp_path)
        with pytest.raises(InvalidInput) as refused:
            fetch_dataset("someone/bad", split=split, cache_dir=tmp_path / "cache")
        assert "not one of its own files" in refused.value.message
    return hub


@pytest.mark.parametrize("split", [None, "train[:1]"])
@pytest.mark.parametrize(
    "pattern", ["{outside}", "{climbing}", "file://{outside}", "[a.jsonl, '{climbing}']"]
)
def test_files_elsewhere_are_neither_read_nor_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, split: str | None
) -> None:
    outside = tmp_path / "private.jsonl"
    outside.write_text(ROW)
    climbing = "../" * 12 + str(outside).lstrip("/")
    files = pattern.format(outside=outside, climbing=climbing)
    data_set(tmp_path / "bad", f"data_files: {files}")
    fetch(tmp_path, monkeypatch, split)
    assert outside.read_text() == ROW
    assert not outside.is_symlink()


@pytest.mark.parametrize("card", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize(
    "setting",
    [
        "data_files: {address}/x.jsonl",
        "data_files: [{{split: train, path: ['{address}/x.jsonl']}}]",
        "data_files: zip://a::{address}/x.zip",
        "data_files: hf://datasets/someone/other/a.jsonl",
        "data_dir: {address}/folder",
        "data_dir: ../..",
        "data_dir: ~",
    ],
)
def test_no_other_address_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, card: str
) -> None:
    with serve({}) as elsewhere:
        written = setting.format(address=elsewhere.address).replace("~", "'~'")
        data_set(tmp_path / "bad", written, card)
        fetch(tmp_path, monkeypatch)
    assert elsewhere.requests == []


def test_a_folder_of_ones_own_is_held_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_set(tmp_path / "mine", "data_files: ../private.jsonl")
    with pytest.raises(InvalidInput, match=r"names '\.\./private\.jsonl'"):
        fetch_dataset(str(tmp_path / "mine"), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("text", ["data_files: [a.jsonl", "data_files: 5", "data_files: {}"])
def test_a_card_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    data_set(tmp_path / "odd", text)
    with pytest.raises(InvalidInput, match=r"cannot be read: \S"):
        fetch_dataset(str(tmp_path / "odd"), cache_dir=tmp_path / "cache")


def test_pictures_are_not_taken_for_rows(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "pictures" / "README.md").write_text("---\nconfigs: []\n---\n")
    with pytest.raises(InvalidInput, match="of the kind 'imagefolder'"):
        fetch_dataset(str(tmp_path / "pictures"), cache_dir=tmp_path / "cache")


def test_what_a_column_names_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import pyarrow.parquet as pq

    with serve({}) as elsewhere:
        features = datasets.Features(prompt=datasets.Value("string"), seen=datasets.Image())
        table = datasets.Dataset.from_dict(
            {"prompt": ["a"], "seen": [{"path": f"{elsewhere.address}/x.png", "bytes": None}]},
            features=features,
        )
        (tmp_path / "seen").mkdir()
        # (`to_parquet` itself would ask the address)
        writer, plain = cast("Any", pq), cast("Any", table).data.table
        writer.write_table(plain, tmp_path / "seen" / "train.parquet")
        (tmp_path / "seen" / "README.md").write_text("---\nconfigs: []\n---\n")
        [file] = fetch_dataset(
            str(tmp_path / "seen"), split="train[:1]", cache_dir=tmp_path / "cache"
        )
    assert elsewhere.requests == []
    assert json.loads(file.path.read_text())["prompt"] == "a"
