from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from phoundry.errors import InvalidInput
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.project import ProjectDeployment
from phoundry.specs.quantization import quantization_named, served_as

NAMES = {"name": "blue", "endpoint_name": "faq", "model": "faq:1"}


@pytest.mark.parametrize(
    ("text", "kind"), [("Q8_0", "Q8_0"), (" bf16 ", "BF16"), ("q4-0", "Q4_0"), ("f32", "F32")]
)
def test_names_in_any_case(text: str, kind: str) -> None:
    assert quantization_named(text) == kind
    assert DeploymentSpec.model_validate({**NAMES, "quantization": text}).quantization == kind
    assert ProjectDeployment.model_validate({"quantization": text}).quantization == kind


@pytest.mark.parametrize("model", [DeploymentSpec, ProjectDeployment])
def test_an_unknown_name_is_refused_with_the_nearest(model: Any) -> None:
    with pytest.raises(InvalidInput, match="Q4_K_M") as caught:
        quantization_named("Q4_K_M")
    assert "Did you mean Q4_0?" in str(caught.value)
    assert "Q8_0, Q5_1, Q4_0, F16, BF16, F32" in str(caught.value)
    values = NAMES if model is DeploymentSpec else {}
    with pytest.raises(ValidationError, match="Did you mean Q4_0"):
        model.model_validate({**values, "quantization": "Q4_K_M"})


@pytest.mark.parametrize("model", [DeploymentSpec, ProjectDeployment])
def test_a_kind_and_an_engine_without_one_contradict_each_other(model: Any) -> None:
    values = NAMES if model is DeploymentSpec else {}
    with pytest.raises(ValidationError, match="transformers serves the checkpoint as it is"):
        model.model_validate({**values, "engine": "transformers", "quantization": "Q8_0"})
    assert model.model_validate({**values, "engine": "transformers"}).quantization is None


def test_what_is_served_where_nothing_is_named() -> None:
    assert served_as("llama.cpp", None) == "Q8_0"
    assert served_as("llama.cpp", "Q4_0") == "Q4_0"
    assert served_as("transformers", None) is None
