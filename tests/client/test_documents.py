"""Files of `apply`, as the user sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.client.documents import chosen_files, read_files
from phoundry.errors import InvalidInput, NotFound, UsageError

PROJECT = "name: faq-bot\ndata: {source: faq.jsonl}\nmodel: ./model\nflow: flow\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "faq.jsonl").write_text("")
    (tmp_path / "phoundry.yaml").write_text(PROJECT)
    return tmp_path


def test_paths_are_seen_from_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (document,) = read_files([folder / "phoundry.yaml"])
    assert document.spec.data.source == str(folder / "faq.jsonl")
    assert document.spec.model == str(folder / "model")
    assert document.spec.flow == str(folder / "flow")


def test_a_glob_stays_one(folder: Path) -> None:
    (folder / "glob.yaml").write_text(PROJECT.replace("faq.jsonl", "'*.jsonl'"))
    (document,) = read_files([folder / "glob.yaml"])
    assert document.spec.data.source == str(folder / "*.jsonl")


def test_a_data_file_that_is_not_there_is_a_fault_with_the_nearest(folder: Path) -> None:
    (folder / "phoundry.yaml").write_text(PROJECT.replace("faq.jsonl", "fag.jsonl"))
    with pytest.raises(InvalidInput) as caught:
        read_files([folder / "phoundry.yaml"])
    (fault,) = caught.value.faults
    assert fault.where == f"{folder / 'phoundry.yaml'}:1"
    assert "did you mean faq.jsonl?" in fault.reason


def test_a_data_set_of_the_hub_stays_a_name(folder: Path) -> None:
    (folder / "hub.yaml").write_text(
        "name: chats\ndata: {source: HuggingFaceH4/ultrachat_200k, split: 'train_sft[:1%]'}\n"
        "model: smollm2-135m-instruct\n"
    )
    (document,) = read_files([folder / "hub.yaml"])
    assert document.spec.data.source == "HuggingFaceH4/ultrachat_200k"
    assert document.spec.model == "smollm2-135m-instruct"


def test_a_folder_stands_for_its_files(folder: Path) -> None:
    (folder / "b.yml").write_text("name: other\nauth_mode: key\n")
    (folder / "flow.dag.yaml").write_text("nodes: []\n")
    (folder / "a.txt").write_text("no")
    assert {document.name for document in read_files([folder])} == {"faq-bot", "other"}


def test_standard_input_is_a_file_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (document,) = read_files(["-"], stdin=lambda: PROJECT)
    assert document.spec.data.source == str(folder / "faq.jsonl")


def test_what_is_referred_to_comes_first(folder: Path) -> None:
    (folder / "many.yaml").write_text(
        "name: blue\nendpoint_name: faq\nmodel: made:1\n---\n"
        "type: mlflow_model\nname: made\npath: azureml://jobs/job-1/outputs/model\n---\n"
        "type: finetuning\nname: job-1\nmodel: m\ntraining_data: azureml:rows:1\n---\n"
        "name: faq\nauth_mode: key\n---\n"
        "type: uri_file\nname: rows\npath: faq.jsonl\n"
    )
    order = [document.kind for document in read_files([folder / "many.yaml"])]
    assert order == ["endpoint", "data", "job", "model", "deployment"]


def test_a_circle_of_references_is_a_fault(folder: Path) -> None:
    (folder / "circle.yaml").write_text(
        "type: mlflow_model\nname: made\npath: azureml://jobs/job-1/outputs/model\n---\n"
        "type: finetuning\nname: job-1\nmodel: made:1\ntraining_data: rows\n"
    )
    with pytest.raises(InvalidInput, match="refer to one another"):
        read_files([folder / "circle.yaml"])


def test_secrets_come_from_the_environment(folder: Path) -> None:
    (folder / "c.yaml").write_text(
        "type: custom\nname: c\nsecrets: {a: '${A_KEY}', b: '<user-input>'}\n"
    )
    (document,) = read_files([folder / "c.yaml"], environ={"A_KEY": "hush"})
    values = {name: value.get_secret_value() for name, value in document.spec.secrets.items()}
    assert values == {"a": "hush", "b": "<user-input>"}
    assert "hush" not in repr(document)
    with pytest.raises(InvalidInput, match="A_KEY"):
        read_files([folder / "c.yaml"], environ={})


def test_a_file_that_is_not_there(folder: Path) -> None:
    with pytest.raises(NotFound, match=r"phoundry.yaml"):
        read_files([folder / "phoundri.yaml"])


def test_without_a_name_the_file_of_this_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert chosen_files(None) == ["phoundry.yaml"]
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    with pytest.raises(UsageError, match="-f FILE"):
        chosen_files(None)


def test_a_byte_order_mark_and_windows_line_ends_are_taken(folder: Path) -> None:
    (folder / "windows.yaml").write_bytes(b"\xef\xbb\xbf" + PROJECT.replace("\n", "\r\n").encode())
    assert read_files([folder / "windows.yaml"])[0].name == "faq-bot"
