from __future__ import annotations

from pathlib import Path

import pytest

from phoundry.errors import InvalidInput
from phoundry.specs import yaml
from phoundry.specs.job import FineTuningJobSpec

HEAD = "type: finetuning\ntask: chat_completion\nmodel_provider: custom\n"


def load(folder: Path, text: str) -> FineTuningJobSpec:
    path = folder / "job.yaml"
    path.write_text(HEAD + text)
    return yaml.load(path, FineTuningJobSpec)


def test_azures_mappings_stand_for_their_path(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        "model:\n  type: mlflow_model\n  path: azureml:tiny:2\n"
        "training_data:\n  type: uri_file\n  path: azureml:faq:1\nvalidation_data: faq-test\n",
    )
    assert (spec.model, spec.training_data) == ("azureml:tiny:2", "azureml:faq:1")
    assert spec.validation_data == "faq-test"


@pytest.mark.parametrize("entry", ["{type: uri_file}", "{path: a, datastore: b}", "[a]", "5"])
def test_another_shape_is_refused_with_its_line(tmp_path: Path, entry: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, f"model: tiny\ntraining_data: {entry}\n")
    [fault] = caught.value.faults
    assert fault.where.endswith("job.yaml:5")
    assert fault.reason.startswith("training_data")
