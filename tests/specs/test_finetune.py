from __future__ import annotations

import pytest

from phoundry.errors import InvalidInput
from phoundry.specs.finetune import resolve


def test_every_value_says_where_it_came_from() -> None:
    parameters, sources = resolve(
        {"learning_rate": "1e-4"},
        model={"apply_lora": True, "learning_rate": 5e-4},
        machine={"precision": "16"},
    )
    assert parameters.learning_rate == 1e-4
    assert (sources["learning_rate"], sources["apply_lora"]) == ("user", "model")
    assert (sources["precision"], sources["seed"]) == ("machine", "default")


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("True", True)])
def test_azures_string_booleans(text: str, value: bool) -> None:
    assert resolve({"apply_lora": text})[0].apply_lora is value


def test_precision_may_be_a_number() -> None:
    assert resolve({"precision": 16})[0].precision == "16"


def test_all_faults_are_told_together_with_the_nearest_name() -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve({"learningrate": 1, "lora_r": 0, "num_train_epochs": "many"})
    text = str(caught.value)
    assert caught.value.total == 3
    assert "learningrate: unknown parameter; did you mean learning_rate" in text
    assert "lora_r: Input should be greater than 0, found 0" in text
    assert "num_train_epochs" in text
