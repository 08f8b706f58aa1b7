"""Data sets of a hub, of a mirror, of a folder: which split, which rows, and what is said."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phoundry.data.hub import fetch_dataset, is_dataset_id
from phoundry.errors import (
    Forbidden,
    InsufficientResources,
    InvalidInput,
    MissingDependency,
    NotFound,
    Unavailable,
)
from tests.support import ultrachat
from tests.support.hub import Drop, Hub, Repo, point, serve

ID = ultrachat.HUB_ID
SHARD = "train_sft-00001-of-00002.parquet"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ultrachat.write(tmp_path_factory.mktemp("hub") / "ultrachat_200k")


@pytest.fixture
def hub(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    gated = Repo(source, kind="dataset", gated=True)
    with serve({ID: Repo(source, kind="dataset"), "someone/gated": gated}) as served:
        point(monkeypatch, served.address, tmp_path)
        yield served


def get(tmp_path: Path, source: str = ID, **which: Any) -> list[dict[str, Any]]:
    """The rows of what is fetched, whatever its format."""
    from pyarrow import parquet

    rows: list[dict[str, Any]] = []
    for file in fetch_dataset(source, cache_dir=tmp_path / "cache", **which):
        if file.path.suffix == ".parquet":
            rows += parquet.read_table(file.path).to_pylist()
        else:
            rows += [json.loads(line) for line in file.path.read_text("utf-8").splitlines()]
    return rows


def test_a_whole_split_is_its_files(hub: Hub, tmp_path: Path) -> None:
    files = fetch_dataset(ID, config="default", split="train_sft", cache_dir=tmp_path / "cache")
    assert [file.name for file in files] == [
        f"{ID}/data/train_sft-00000-of-00002.parquet",
        f"{ID}/data/{SHARD}",
    ]
    assert get(tmp_path, split="train_sft") == ultrachat.rows("train_sft")
    assert not hub.fetched("test_sft-00000-of-00001.parquet")  # only what was asked for
    assert len(hub.fetched(SHARD)) == 1


@pytest.mark.parametrize(
    "split",
    [
        "train_sft[:1%]",
        "train_sft[10:20]",
        "train_sft[-7:]",
        "train_sft[99%:]",
        "train_sft[:10%]+test_gen[5:]",
        "test_sft+test_gen",
    ],
)
def test_slices_are_those_of_datasets(split: str, hub: Hub, source: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    expected = load_dataset(str(source), split=split, cache_dir=str(tmp_path / "theirs"))
    assert len(expected) > 0
    assert get(tmp_path, split=split) == list(expected)


def test_the_texts_are_the_same_letters(hub: Hub, tmp_path: Path) -> None:
    [row] = get(tmp_path, split="train_sft[:1]")
    assert row["messages"][1]["content"].endswith("for 1 days – naïve, isn't it?")


def test_a_broken_download_goes_on_in_the_next_call(hub: Hub, tmp_path: Path) -> None:
    hub.fail(SHARD, Drop(after=3000))
    hub.fail(SHARD, Drop(after=0), times=6)
    with pytest.raises(Unavailable, match="3,000 bytes"):
        get(tmp_path, split="train_sft")
    assert get(tmp_path, split="train_sft") == ultrachat.rows("train_sft")
    assert hub.fetched(SHARD)[-1].range == "bytes=3000-"
    assert len(hub.fetched("train_sft-00000-of-00002.parquet")) == 1


def test_what_is_asked_wrongly_is_answered_with_what_there_is(hub: Hub, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, str], str]] = [
        ({"config": "defaults"}, r"no configuration 'defaults'; it has default\. Did you mean"),
        ({"split": "train_sfx"}, r"no split 'train_sfx'; there are test_gen, .*mean train_sft\?"),
        ({}, r"has several splits: test_gen, test_sft, train_gen, train_sft"),
        ({"split": "train_sft[1%"}, r"cannot be read.*'train\[:1%\]'"),
        ({"split": "train_sft[:0]"}, r"holds no row"),
    ]
    for which, message in cases:
        with pytest.raises(InvalidInput) as refused:
            get(tmp_path, **which)
        assert re.search(message, str(refused.value).replace("\n", " ")), which


def test_a_file_has_no_splits(tmp_path: Path) -> None:
    (tmp_path / "faq.jsonl").write_text("{}")
    with pytest.raises(InvalidInput, match="is a file"):
        get(tmp_path, str(tmp_path / "faq.jsonl"), split="train")


def test_an_unknown_or_gated_data_set(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound, match="has no data set 'someone/else'"):
        get(tmp_path, "someone/else")
    with pytest.raises(Forbidden, match="gated") as refused:
        get(tmp_path, "someone/gated", split="test_gen")
    assert f"{hub.address}/datasets/someone/gated" in str(refused.value.remedy)
    monkeypatch.setenv("HF_TOKEN", hub.repos["someone/gated"].token)
    assert get(tmp_path, "someone/gated", split="test_gen") == ultrachat.rows("test_gen")


def test_offline_uses_what_is_here_and_says_what_is_not(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get(tmp_path, split="test_sft")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.requests.clear()
    said: list[str] = []
    assert get(tmp_path, split="test_sft[:3]", say=said.append) == ultrachat.rows("test_sft")[:3]
    assert "What was fetched on" in said[0]
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE is set"):
        get(tmp_path, split="train_gen")
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE is set"):
        get(tmp_path, "someone/else")
    assert hub.requests == []


def test_a_folder_with_a_card_is_a_data_set(source: Path, tmp_path: Path) -> None:
    assert is_dataset_id(str(source))
    rows = get(tmp_path, str(source), config="default", split="test_gen[:50%]")
    assert rows == ultrachat.rows("test_gen")[:10]


def test_a_saved_data_set_is_one(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows = ultrachat.rows("test_gen")
    parts = {"train": Dataset.from_list(rows), "test": Dataset.from_list(rows[:4])}
    DatasetDict(parts).save_to_disk(str(tmp_path / "both"))
    parts["train"].save_to_disk(str(tmp_path / "one"))
    assert is_dataset_id(str(tmp_path / "both"))
    assert get(tmp_path, str(tmp_path / "both"), split="test[1:]") == rows[1:4]
    assert get(tmp_path, str(tmp_path / "one")) == rows
    with pytest.raises(InvalidInput, match="there are test, train"):
        get(tmp_path, str(tmp_path / "both"), split="validation")


def test_several_configurations_and_settings_of_the_card(tmp_path: Path) -> None:
    folder = tmp_path / "faq"
    folder.mkdir()
    (folder / "en.csv").write_text("q;a\nWhere?;Here\n")
    (folder / "sv.csv").write_text("q;a\nVar?;Här\n", encoding="utf-8")
    configs = "".join(
        f"- config_name: {lang}\n  data_files: {lang}.csv\n  sep: ';'\n" for lang in ("en", "sv")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    with pytest.raises(InvalidInput, match="has several configurations: en, sv"):
        get(tmp_path, str(folder))
    assert get(tmp_path, str(folder), config="sv") == [{"q": "Var?", "a": "Här"}]


def test_a_script_is_never_run(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    hub.repos |= {"someone/scripted": Repo(folder, kind="dataset")}  # type: ignore[operator]
    with pytest.raises(InvalidInput, match=r"made by a script \(scripted\.py\).*no code"):
        get(tmp_path, "someone/scripted")
    assert not hub.fetched("scripted.py")
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_leaves_no_half_file(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def full(handle: int) -> None:
        if any((tmp_path / "cache").rglob(".*.jsonl.*")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InsufficientResources, match="is full"):
        get(tmp_path, split="test_gen[:2]")
    assert not list((tmp_path / "cache" / "datasets" / "rows").iterdir())
    monkeypatch.setattr(os, "fsync", real)
    assert len(get(tmp_path, split="test_gen[:2]")) == 2


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        (ID, True),
        ("hf://datasets/someone/faq", True),
        ("https://huggingface.co/datasets/someone/faq", True),
        ("faq", False),
        ("data/faq.jsonl", False),
        ("data/faq.csv.gz", False),
        ("data/*.jsonl", False),
        ("./data/faq", False),
        ("../data/faq", False),
        ("/data/faq", False),
        ("a/b/c", False),
        ("", False),
    ],
)
def test_what_names_a_data_set(
    name: str, is_one: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_dataset_id(name) is is_one


def test_a_folder_of_files_is_not_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "faq").mkdir(parents=True)
    (tmp_path / "data" / "faq" / "README.md").write_text("# Questions")
    assert not is_dataset_id("data/faq")


def test_without_the_package_the_line_to_install_it_is_said(tmp_path: Path) -> None:
    """In a process of its own, where importing `datasets` fails."""
    script = (
        "import sys; sys.modules['datasets'] = None\n"
        "from pathlib import Path\n"
        "from phoundry.data.hub import fetch_dataset, is_dataset_id\n"
        "assert is_dataset_id('a/b')\n"
        f"fetch_dataset('a/b', cache_dir=Path({str(tmp_path)!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert MissingDependency.__name__ in done.stderr
    assert 'pip install "phoundry[data]"' in done.stderr
