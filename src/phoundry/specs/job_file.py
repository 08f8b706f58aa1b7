"""Azure ML's finetuning YAML: every fault at once, also of its hyperparameters, with lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from phoundry.errors import Fault, InvalidInput
from phoundry.specs import yaml
from phoundry.specs.finetune import written_faults
from phoundry.specs.job import FineTuningJobSpec


def read_job(path: Path) -> FineTuningJobSpec:
    """The job that `path` describes.

    Raises:
        NotFound: no such file.
        InvalidInput: not YAML, or not a job: unknown keys and parameters, values out of their
            range, and parameters that contradict each other, each with its line.
    """
    name, document = str(path), yaml.load_document(path)
    faults = hyperparameter_faults(name, document)
    try:
        spec = FineTuningJobSpec.model_validate(document)
    except ValidationError as error:
        faults = [*yaml.faults_of(name, document, error, FineTuningJobSpec), *faults]
    else:
        if not faults:
            return spec
    raise InvalidInput(f"{path} cannot be used.", faults=faults)


def hyperparameter_faults(name: str, document: Any) -> list[Fault]:
    """What is wrong with a job's hyperparameters, under either of the key's two names."""
    section = "hyperparameters" if "hyperparameters" in document else "parameters"
    return written_faults(name, document, section)
