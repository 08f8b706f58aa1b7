from __future__ import annotations

from typing import Any

import pytest

from phoundry.errors import InvalidInput
from phoundry.specs.finetune import resolve

CONTRADICTIONS = [
    ({"apply_lora": "false", "lora_r": 16}, "lora_r", "set apply_lora=true, or leave lora_r out"),
    ({"lora_dropout": 0.1}, "lora_dropout", "no effect with apply_lora=false"),
    (
        {"apply_early_stopping": True, "evaluation_strategy": "disable"},
        "apply_early_stopping",
        "set evaluation_strategy=epoch",
    ),
    (
        {"load_best_model_at_end": True, "evaluation_strategy": "no"},
        "load_best_model_at_end",
        "no effect with evaluation_strategy=disable",
    ),
    (
        {"metric_for_best_model": "f1", "evaluation_strategy": "disable"},
        "metric_for_best_model",
        "metric_for_best_model=f1 has no effect",
    ),
    ({"sample_generations": 5, "evaluation_strategy": "disable"}, "sample_generations", "=5"),
    ({"eval_steps": 50}, "eval_steps", "set evaluation_strategy=steps"),
    (
        {"evaluation_steps_interval": "0.5", "evaluation_strategy": "epoch"},
        "evaluation_steps_interval",
        "evaluation_steps_interval=0.5 has no effect with evaluation_strategy=epoch",
    ),
    (
        {"evaluation_steps_interval": 0.5, "evaluation_strategy": "steps", "eval_steps": 5},
        "evaluation_steps_interval",
        "each sets the interval",
    ),
    ({"early_stopping_patience": 3}, "early_stopping_patience", "set apply_early_stopping=true"),
    ({"early_stopping_threshold": 0.01}, "early_stopping_threshold", "apply_early_stopping=false"),
    ({"logging_strategy": "epoch", "logging_steps": 5}, "logging_steps", "logging_strategy=steps"),
    ({"packing": False, "pack_length": 512}, "pack_length", "set packing=true"),
    ({"packing": True, "pad_to_max_length": True}, "pad_to_max_length", "no padding"),
    ({"max_steps": 10, "num_train_epochs": 1}, "max_steps", "each sets the end"),
    ({"max_steps": 10, "warmup_steps": 10}, "warmup_steps", "warm up for fewer steps"),
    ({"warmup_steps": 5, "lr_scheduler_type": "constant"}, "warmup_steps", "constant_with_warmup"),
    ({"optim": "adafactor", "adam_beta2": 0.9}, "adam_beta2", "optim=adamw_torch"),
]


@pytest.mark.parametrize(("user", "name", "reason"), CONTRADICTIONS)
def test_it_is_refused_with_what_to_do(user: dict[str, Any], name: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(user, where="hyperparameters")
    (fault,) = caught.value.faults
    assert fault.where == f"hyperparameters {name}"
    assert reason in fault.reason


@pytest.mark.parametrize(("user", "name", "_"), CONTRADICTIONS)
def test_without_the_one_to_blame_the_rest_is_taken(
    user: dict[str, Any], name: str, _: str
) -> None:
    rest = {key: value for key, value in user.items() if key != name}
    resolve(rest)


@pytest.mark.parametrize(
    ("user", "model"),
    [
        ({"apply_lora": False}, {"apply_lora": True, "lora_r": 16, "lora_alpha": 32}),
        ({"lora_r": 16}, {"apply_lora": True}),
        ({"max_steps": 10}, {"num_train_epochs": 2}),
        ({"packing": "false"}, {"pack_length": 512}),
        ({"max_seq_length": 4096, "pack_length": 512}, {}),  # a longer one gets a pack of its own
        ({"pad_to_max_length": True}, {}),
        ({"warmup_steps": 5, "lr_scheduler_type": "constant_with_warmup"}, {}),
        ({"evaluation_strategy": "steps", "evaluation_steps_interval": 0.5}, {}),
        ({"evaluation_strategy": "disable", "metric_for_best_model": "loss"}, {}),
        ({"evaluation_strategy": "disable", "sample_generations": 0}, {}),
        ({"optim": "adafactor"}, {"adam_beta2": 0.95}),
        ({"apply_lora": False, "merge_lora_weights": True, "lora_dropout": 0}, {}),
    ],
)
def test_what_a_model_recommends_gives_way_and_what_asks_for_nothing_is_taken(
    user: dict[str, Any], model: dict[str, Any]
) -> None:
    parameters, _ = resolve(user, model=model)
    for name, value in user.items():
        assert getattr(parameters, name) == type(getattr(parameters, name))(
            value if value != "false" else 0
        )


def test_a_warm_up_that_a_model_recommends_must_fit_the_users_steps() -> None:
    with pytest.raises(InvalidInput, match="max_steps: warmup_steps=10 is not below max_steps=5"):
        resolve({"max_steps": 5}, model={"warmup_steps": 10})


def test_every_contradiction_is_told_at_once() -> None:
    user = {"lora_r": 4, "max_steps": 3, "num_train_epochs": 2, "warmup_steps": 3, "eval_steps": 9}
    with pytest.raises(InvalidInput) as caught:
        resolve(user)
    assert caught.value.total == 4


@pytest.mark.parametrize(
    "name", ["apply_early_stopping", "load_best_model_at_end", "metric_for_best_model"]
)
def test_what_needs_evaluations_is_refused_where_nothing_is_held_out(name: str) -> None:
    user = {name: "exact" if name == "metric_for_best_model" else "true"}
    resolve(user)
    resolve(user, validation=True)
    with pytest.raises(InvalidInput, match="there are none: give validation_data"):
        resolve(user, validation=False)
    resolve({name: "loss" if name == "metric_for_best_model" else "false"}, validation=False)
