"""Jobs as Azure ML's users write them, and the lines of what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.errors import InvalidInput
from phoundry.specs import yaml
from phoundry.specs.documents import Text, read_documents
from phoundry.specs.finetune import located, resolve
from phoundry.specs.job import FineTuningJobSpec

JOB = """\
type: finetuning
task: chat_completion
model_provider: custom
name: faq-1
model: phi-3
training_data: faq
"""
PROJECT = "name: faq-bot\ndata: {source: faq.jsonl}\nmodel: m\n"
WRONG = """\
hyperparameters:
  learningrate: "1e-4"
  lora_r: "0"
  apply_lora: "true"
  max_steps: 10
  num_train_epochs: "2"
  eval_steps: 50
"""


# Key by key as Azure's own samples of `az ml job create` have it (azureml-examples, finetuning).
AZURE = """\
type: finetuning

name: "Library-phi-3"
experiment_name: "Library-experiment"
display_name: "Library-display"
task: chat_completion
model_provider: custom
model:
  path: "azureml://registries/azureml/models/Phi-3-mini-4k-instruct/versions/14"
  type: mlflow_model
compute: "gpu-pool"
training_data: books.jsonl
validation_data:
  path: held-out.jsonl
  type: uri_file
hyperparameters:
  num_train_epochs: "1"
  per_device_train_batch_size: "1"
  learning_rate: "0.00002"
properties:
  shelf: "seven"
tags:
  owner: "library"
outputs:
  registered_model:
    name: "library-model"
    type: mlflow_model
"""
INSTANCES = """\
resources:
  instance_types:
  # One of these is chosen there.
    - "Standard_A100"
    - "Standard_E4s"
"""


def read_job(path: Path) -> FineTuningJobSpec:
    return yaml.load(path, FineTuningJobSpec)


@pytest.mark.parametrize(
    "text", [AZURE, AZURE.replace('compute: "gpu-pool"\n', INSTANCES)], ids=["compute", "types"]
)
def test_what_azures_samples_have_is_read_unchanged(tmp_path: Path, text: str) -> None:
    spec = read_job(written(tmp_path, text))
    assert spec.model == "azureml://registries/azureml/models/Phi-3-mini-4k-instruct/versions/14"
    assert (spec.training_data, spec.validation_data) == ("books.jsonl", "held-out.jsonl")
    assert (spec.properties, spec.tags) == ({"shelf": "seven"}, {"owner": "library"})
    parameters, sources = resolve(spec.hyperparameters)
    assert (parameters.num_train_epochs, parameters.learning_rate) == (1, 2e-5)
    assert list(sources.values()).count("user") == 3
    (document,) = read_documents([Text("job.yaml", text, tmp_path)])
    assert document.spec == spec


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_job_is_read_with_its_hyperparameters_as_they_stand(tmp_path: Path) -> None:
    text = JOB + 'hyperparameters: {apply_lora: "true", learning_rate: "0.00002"}\n'
    spec = read_job(written(tmp_path, text))
    assert spec.hyperparameters == {"apply_lora": "true", "learning_rate": "0.00002"}
    assert read_job(written(tmp_path, JOB)).hyperparameters == {}


@pytest.mark.parametrize("section", ["hyperparameters", "parameters"])
def test_every_fault_of_a_job_has_its_line(tmp_path: Path, section: str) -> None:
    wrong = WRONG.replace("hyperparameters", section)
    path = written(tmp_path, JOB.replace("model: phi-3", "modell: phi-3") + wrong)
    with pytest.raises(InvalidInput, match=r"job\.yaml cannot be used") as caught:
        read_job(path)
    faults = {fault.where.rpartition(":")[2]: fault.reason for fault in caught.value.faults}
    assert caught.value.total == len(caught.value.faults) == 5
    assert "unknown key 'modell'" in faults["5"]
    assert "did you mean learning_rate" in faults["8"]
    assert faults["9"].startswith(f"{section}.lora_r: Input should be greater than 0")
    assert "max_steps=10 and num_train_epochs=2 contradict" in faults["11"]
    # eval_steps without a strategy may still go with what the model recommends: `resolve` tells.
    assert "13" not in faults


def test_apply_tells_the_same_faults_of_the_same_file() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_documents([Text("job.yaml", JOB + WRONG, Path())])
    assert [fault.where for fault in caught.value.faults] == [f"job.yaml:{n}" for n in (8, 9, 11)]


def test_contradictions_of_a_project_are_told_once_with_its_other_faults() -> None:
    finetune = "finetune:\n  apply_lora: no\n  lora_r: 16\n  learning_rate: fast\n"
    with pytest.raises(InvalidInput) as caught:
        read_documents([Text("faq.yaml", PROJECT + finetune, Path())])
    assert sorted(fault.where for fault in caught.value.faults) == ["faq.yaml:6", "faq.yaml:7"]
    fine = read_documents([Text("faq.yaml", PROJECT + "finetune:\n  lora_r: 16\n", Path())])
    assert fine[0].spec.parameters == {"lora_r": 16}  # the model may recommend LoRA


def test_faults_found_later_get_the_lines_of_the_file(tmp_path: Path) -> None:
    document = yaml.load_document(written(tmp_path, JOB + WRONG))
    with pytest.raises(InvalidInput) as caught:
        resolve(document["hyperparameters"], model={"warmup_ratio": 1}, where="hyperparameters")
    found = located(caught.value, "job.yaml", document)
    assert {fault.where for fault in found.faults} == {
        *(f"job.yaml:{line}" for line in (8, 9, 11, 13)),
        "hyperparameters warmup_ratio",  # not the user's
    }
    assert (found.total, found.remedy) == (5, caught.value.remedy)
