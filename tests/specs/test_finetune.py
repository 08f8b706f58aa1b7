from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from phoundry.errors import InvalidInput
from phoundry.specs.finetune import FineTuneParameters, notices, resolve

# Names and defaults of Azure's chat-completion component, as its files spell them.
AZURE = {
    "apply_lora": "false",
    "merge_lora_weights": "true",
    "lora_alpha": "128",
    "lora_r": "8",
    "lora_dropout": "0.0",
    "num_train_epochs": "1",
    "max_steps": "-1",
    "per_device_train_batch_size": "1",
    "per_device_eval_batch_size": "1",
    "auto_find_batch_size": "false",
    "optim": "adamw_torch",
    "learning_rate": "2e-05",
    "warmup_steps": "0",
    "weight_decay": "0.0",
    "adam_beta1": "0.9",
    "adam_beta2": "0.999",
    "adam_epsilon": "1e-08",
    "gradient_accumulation_steps": "1",
    "eval_accumulation_steps": "-1",
    "lr_scheduler_type": "linear",
    "precision": "32",
    "seed": "42",
    "enable_full_determinism": "false",
    "dataloader_num_workers": "0",
    "ignore_mismatched_sizes": "false",
    "max_grad_norm": "1.0",
    "max_seq_length": "-1",
    "pad_to_max_length": "false",
    "evaluation_strategy": "epoch",
    "evaluation_steps_interval": "0.0",
    "eval_steps": "500",
    "logging_strategy": "steps",
    "logging_steps": "10",
    "metric_for_best_model": "loss",
    "save_total_limit": "-1",
    "apply_early_stopping": "false",
    "early_stopping_patience": "1",
    "early_stopping_threshold": "0.0",
    "apply_deepspeed": "false",
    "deepspeed_stage": "2",
    "apply_ort": "false",
}


def test_every_value_says_where_it_came_from() -> None:
    parameters, sources = resolve(
        {"learning_rate": "1e-4"},
        model={"apply_lora": True, "learning_rate": 5e-4},
        machine={"precision": "16"},
    )
    assert parameters.learning_rate == 1e-4
    assert (sources["learning_rate"], sources["apply_lora"]) == ("user", "model")
    assert (sources["precision"], sources["seed"]) == ("machine", "default")
    assert sources.keys() == FineTuneParameters.model_fields.keys()


def test_azures_whole_list_of_defaults_is_ours_and_contradicts_nothing() -> None:
    parameters, sources = resolve(AZURE)
    assert parameters == FineTuneParameters()
    assert {name for name, source in sources.items() if source == "user"} == set(AZURE)
    assert notices(parameters, sources) == []


def test_a_job_may_be_resumed_unless_one_says_otherwise() -> None:
    """Azure's default is false, for runs that nothing interrupts; here a resume is asked for."""
    assert FineTuneParameters().resume_from_checkpoint is True
    (said,) = notices(*resolve({"resume_from_checkpoint": "false"}))
    assert "begins again with its first step" in said


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("True", True)])
def test_azures_string_booleans(text: str, value: bool) -> None:
    assert resolve({"apply_lora": text})[0].apply_lora is value


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("precision", 16, "16"),
        ("precision", "bf16", "16"),
        ("precision", "float32", "32"),
        ("evaluation_strategy", "no", "disable"),
        ("evaluation_strategy", False, "disable"),
        ("evaluation_strategy", "Steps", "steps"),
        ("optim", "adamw_hf", "adamw_torch"),
        ("gradient_checkpointing", True, "true"),
        ("gradient_checkpointing", "False", "false"),
        ("gradient_checkpointing", "auto", "auto"),
        ("deepspeed_stage", 2, "2"),
        ("num_train_epochs", "3", 3.0),
        ("max_steps", "-1", -1),
        ("learning_rate", "0.00002", 2e-5),
    ],
)
def test_spellings_that_mean_the_same(name: str, written: Any, value: Any) -> None:
    assert getattr(resolve({name: written})[0], name) == value


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("precision", "fp16"),  # we have bfloat16, which is another type
        ("precision", 8),
        ("optim", "sgd"),
        ("evaluation_strategy", True),
        ("evaluation_strategy", None),
        ("logging_strategy", "no"),
        ("lr_scheduler_type", ["linear"]),
        ("truncation", "left"),
        ("learning_rate", "nan"),
        ("learning_rate", "inf"),
        ("max_steps", 0),
        ("max_seq_length", "0"),
        ("save_total_limit", 0),
        ("apply_lora", "maybe"),
        ("lora_r", 2.5),
        ("seed", {}),
        ("seed", -1),
        ("seed", 2**32),
    ],
)
def test_values_that_are_refused_by_name(name: str, written: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve({name: written}, where="hyperparameters")
    (fault,) = caught.value.faults
    assert fault.where == f"hyperparameters {name}"
    assert fault.reason.endswith(f", found {written!r}")
    with pytest.raises(ValidationError):
        FineTuneParameters.model_validate({name: written})


def test_all_faults_are_told_together_with_the_nearest_name() -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(
            {
                "learningrate": 1,
                "lora_dropout": 3,
                "num_train_epochs": "many",
                "warmup_ratio": 0.1,
                "eval_strategy": "epoch",
                "adam_beta1": 0.5,
                "optim": "adafactor",
            }
        )
    text = str(caught.value)
    assert caught.value.total == 6
    assert "learningrate: unknown parameter; did you mean learning_rate" in text
    assert "warmup_ratio: unknown parameter; did you mean warmup_steps" in text
    assert "eval_strategy: unknown parameter; did you mean evaluation_strategy" in text
    assert "lora_dropout: Input should be less than 1, found 3" in text
    assert "num_train_epochs" in text
    assert "adam_beta1=0.5 has no effect with optim=adafactor" in text


def test_what_a_notebook_of_azures_sets_is_taken_with_a_notice() -> None:
    parameters, sources = resolve(
        {
            "num_train_epochs": 3,
            "per_device_train_batch_size": 1,
            "per_device_eval_batch_size": 1,
            "learning_rate": 5e-6,
            "lr_scheduler_type": "cosine",
            "apply_lora": "true",
            "apply_deepspeed": "true",
            "deepspeed_stage": 2,
        }
    )
    assert (parameters.apply_lora, parameters.learning_rate) == (True, 5e-6)
    (said,) = notices(parameters, sources)
    assert said.startswith("apply_deepspeed=true is taken and has no effect here: ")


def test_notices_are_of_what_the_user_wrote() -> None:
    values = {
        "pad_to_max_length": "true",
        "dataloader_num_workers": "2",
        "apply_lora": "true",
        "merge_lora_weights": "false",
        "ignore_mismatched_sizes": "true",
    }
    said = notices(*resolve(values))
    assert len(said) == 4
    assert any("padding" in text for text in said)
    assert any("2: so many processes tokenise" in text for text in said)
    assert any("stays by itself in output/adapter" in text for text in said)
    assert notices(*resolve({}, model={"pad_to_max_length": True})) == []


NAMES = st.sampled_from([*FineTuneParameters.model_fields, "learningrate", "batch_size", ""])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 600),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["true", "false", "steps", "disable", "adafactor", "16", "constant", "f1"]),
    st.lists(st.integers(), max_size=2),
)


@given(st.dictionaries(NAMES, VALUES, max_size=8), st.dictionaries(NAMES, VALUES, max_size=2))
def test_anything_is_resolved_or_refused_with_every_fault(
    user: dict[str, Any], model: dict[str, Any]
) -> None:
    try:
        parameters, sources = resolve(user, model=model)
    except InvalidInput as error:
        assert error.faults
        names = [fault.where.removeprefix("--set ") for fault in error.faults]
        assert set(names) <= set(user) | set(model)
        # What was refused is what was wrong: without it, the rest is taken.
        refused = set(names)
        rest = {name: value for name, value in user.items() if name not in refused}
        resolve(rest, model={k: v for k, v in model.items() if k not in refused})
        return
    assert set(user) <= {name for name, source in sources.items() if source == "user"}
    # What was resolved can be written down and read again.
    assert FineTuneParameters.model_validate(parameters.model_dump(mode="json")) == parameters
    assert resolve(user | parameters.model_dump(include=set(user)), model=model)[0] == parameters
