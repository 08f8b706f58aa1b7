"""Telling documents apart, and every fault with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoundry.errors import InvalidInput, PhoundryError, UsageError
from phoundry.specs.documents import ModelDocument, Text, read_documents
from phoundry.specs.project import Project
from phoundry.specs.yaml import dump

PROJECT = "name: faq-bot\ndata: {source: faq.jsonl}\nmodel: m\n"
SCHEMA = "$schema: https://azuremlschemas.azureedge.net/latest/"


def text(content: str, name: str = "file.yaml") -> Text:
    return Text(name, content, Path())


def faults_of(*texts: Text) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        read_documents(texts)
    return {fault.where: fault.reason for fault in caught.value.faults}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PROJECT, "project"),
        (f"{SCHEMA}managedOnlineEndpoint.schema.json\nname: faq\n", "endpoint"),
        ("name: faq\nauth_mode: key\n", "endpoint"),
        (
            f"{SCHEMA}managedOnlineDeployment.schema.json\n"
            "name: blue\nendpoint_name: faq\nmodel: m\n",
            "deployment",
        ),
        ("name: blue\nendpoint_name: faq\nmodel: m\n", "deployment"),
        ("type: finetuning\nname: a\nmodel: m\ntraining_data: d\n", "job"),
        ("name: a\nmodel: m\ntraining_data: d\n", "job"),
        (f"{SCHEMA}data.schema.json\nname: a\npath: f\n", "data"),
        ("type: uri_folder\nname: a\npath: f\n", "data"),
        (f"{SCHEMA}model.schema.json\nname: a\npath: f\n", "model"),
        ("type: custom_model\nname: a\npath: f\n", "model"),
        ("type: custom\nname: a\nsecrets: {k: v}\n", "connection"),
        ("type: open_ai\nname: a\napi_key: k\n", "connection"),
    ],
)
def test_every_kind_is_told_from_schema_type_or_keys(content: str, kind: str) -> None:
    assert [each.kind for each in read_documents([text(content)])] == [kind]


def test_every_fault_of_every_document_and_file_comes_at_once() -> None:
    first = text(
        f"{PROJECT}finetune: {{learning_rat: 1}}\n---\nname: x\nauth_mode: kee\n", "a.yaml"
    )
    second = text("name: b\nauthmode: key\ntraffic: {blue: 50}\n", "b.yaml")
    third = text("a: [\n", "c.yaml")
    found = faults_of(first, second, third)
    assert "did you mean learning_rate?" in found["a.yaml:4"]
    assert "at least 3 characters" in found["a.yaml:6"]
    assert "Input should be 'key'" in found["a.yaml:7"]
    assert "did you mean auth_mode?" in found["b.yaml:2"]
    assert "50 %" in found["b.yaml:3"]
    assert "c.yaml:2" in found


def test_what_a_document_is_must_be_told() -> None:
    found = faults_of(text("---\nname: a\ncolour: red\n"))
    assert "cannot be told" in found["file.yaml:2"]
    found = faults_of(text("type: finetunning\nname: a\n"))
    assert found["file.yaml:1"] == "unknown type; did you mean finetuning?"


def test_a_job_needs_its_name_here() -> None:
    assert (
        "name" in faults_of(text("type: finetuning\nmodel: m\ntraining_data: d\n"))["file.yaml:1"]
    )


def test_the_same_twice_is_a_fault() -> None:
    found = faults_of(text(PROJECT, "a.yaml"), text(PROJECT, "b.yaml"))
    assert found == {"b.yaml:1": "the project 'faq-bot' is declared at a.yaml:1 already"}


def test_no_secret_is_quoted() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_documents([text("type: custom\nname: a b\nsecrets: {k: [hush]}\n")])
    assert "hush" not in str(caught.value)


def test_nothing_at_all_is_said() -> None:
    with pytest.raises(InvalidInput, match="declares nothing"):
        read_documents([text("# only a comment\n---\n")])


def test_settings_and_name_are_written_over_the_project() -> None:
    documents = read_documents(
        [text(PROJECT + "---\nname: faq\nauth_mode: key\n")],
        settings={"finetune.lora_r": "16", "deployment.defaults.stop": "[a, b]", "model": "n"},
        name="other",
    )
    project = documents[0].spec
    assert (project.name, project.model, project.parameters) == ("other", "n", {"lora_r": 16})
    assert project.deployment.defaults.stop == ["a", "b"]


def test_settings_need_one_document_to_be_for() -> None:
    two = PROJECT + "---\n" + PROJECT.replace("faq-bot", "other")
    with pytest.raises(UsageError, match="there are 2"):
        read_documents([text(two)], settings={"model": "n"})


@pytest.mark.parametrize(
    ("path", "job"),
    [
        ("azureml://jobs/train-1/outputs/artifacts/paths/model", "train-1"),
        ("azureml:azureml://jobs/train-1/outputs/model", "train-1"),
        ("./model", None),
    ],
)
def test_a_models_path_may_name_a_job(path: str, job: str | None) -> None:
    assert ModelDocument(name="a", path=path).job == job


def test_data_are_a_source_or_an_asset() -> None:
    found = faults_of(text("name: faq\ndata: {source: a, asset: b}\nmodel: m\n"))
    assert "either `source` or" in found["file.yaml:2"]
    found = faults_of(text("name: faq\ndata: {asset: b, seed: 3}\nmodel: m\n"))
    assert "leave out seed" in found["file.yaml:2"]


names = st.from_regex(r"[a-z][a-z0-9]{2,9}", fullmatch=True)


@given(
    name=names,
    source=st.text(min_size=1, max_size=20),
    test_size=st.floats(0, 0.99),
    epochs=st.integers(1, 9),
    rate=st.floats(1e-6, 1e-2),
    stop=st.lists(st.text(min_size=1, max_size=5), max_size=4),
    temperature=st.none() | st.floats(0, 2),
    flow=st.sampled_from([None, "chat", "folder"]),
)
def test_what_is_written_out_reads_as_the_same(
    name: str, flow: str | None, **values: object
) -> None:
    project = Project.model_validate(
        {
            "name": name,
            "data": {"source": values["source"], "test_size": values["test_size"]},
            "model": "m",
            "finetune": {"num_train_epochs": values["epochs"], "learning_rate": values["rate"]},
            "deployment": {
                "defaults": {"stop": values["stop"], "temperature": values["temperature"]}
            },
            "flow": flow,
        }
    )
    (again,) = read_documents([text(dump(project.canonical()))])
    assert again.spec.canonical() == project.canonical()
    assert again.spec.deployment == project.deployment


@given(st.text(max_size=200))
def test_any_text_is_documents_or_a_clear_error(content: str) -> None:
    try:
        read_documents([text(content)])
    except PhoundryError as error:
        assert "file.yaml" in str(error)
