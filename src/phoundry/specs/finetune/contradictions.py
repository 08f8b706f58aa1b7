"""Values that are fine alone and not together.

A value asks for nothing while it is its default, 0 or false, whoever wrote it: a file that spells
out Azure's whole list of defaults contradicts nothing. Only what the user wrote is refused; what a
model recommends gives way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from phoundry.specs.finetune.parameters import FineTuneParameters


@dataclass(frozen=True, slots=True)
class Contradiction:
    """`names`: the parameters that it lies between, the one to blame first."""

    names: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class _Needs:
    """`names` have an effect only where `condition` has one of the values `allowed`, of which the
    first is the one to suggest."""

    names: tuple[str, ...]
    condition: str
    allowed: tuple[Any, ...]


_NEEDS = (
    _Needs(("lora_r", "lora_alpha", "lora_dropout"), "apply_lora", (True,)),
    _Needs(("adam_beta1", "adam_beta2", "adam_epsilon"), "optim", ("adamw_torch",)),
    _Needs(
        ("warmup_steps",),
        "lr_scheduler_type",
        ("constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"),
    ),
    _Needs(
        (
            *("apply_early_stopping", "load_best_model_at_end", "metric_for_best_model"),
            "sample_generations",
        ),
        "evaluation_strategy",
        ("epoch", "steps"),
    ),
    _Needs(("eval_steps", "evaluation_steps_interval"), "evaluation_strategy", ("steps",)),
    _Needs(
        ("early_stopping_patience", "early_stopping_threshold"), "apply_early_stopping", (True,)
    ),
    _Needs(("logging_steps",), "logging_strategy", ("steps",)),
    _Needs(("pack_length",), "packing", (True,)),
)
# What only an evaluation can tell.
_EVALUATED = ("apply_early_stopping", "load_best_model_at_end", "metric_for_best_model")


def contradictions(
    p: FineTuneParameters, written: Collection[str], *, validation: bool | None = None
) -> list[Contradiction]:
    """Every contradiction that the `written` names (by the user) have a part in.

    Args:
        validation: whether there are conversations to evaluate on; None: not known.
    """
    found = [*_without_effect(p, written), *_pairs(p, written)]
    # Without evaluations on purpose, the same is told already.
    if validation is False and p.evaluation_strategy != "disable":
        found += [
            Contradiction(
                (name,),
                f"{_shown(p, name)} needs conversations to evaluate on, and there are none: give "
                f"validation_data (--validation), hold some out (test_size), or leave {name} out",
            )
            for name in _EVALUATED
            if name in written and _asks(p, name)
        ]
    return found


def _without_effect(p: FineTuneParameters, written: Collection[str]) -> Iterator[Contradiction]:
    for needs in _NEEDS:
        actual = getattr(p, needs.condition)
        if actual in needs.allowed:
            continue
        wanted = _text(needs.allowed[0])
        for name in needs.names:
            if name in written and _asks(p, name):
                yield Contradiction(
                    (name, needs.condition),
                    f"{_shown(p, name)} has no effect with {_shown(p, needs.condition)}: set "
                    f"{needs.condition}={wanted}, or leave {name} out",
                )


def _pairs(p: FineTuneParameters, written: Collection[str]) -> Iterator[Contradiction]:
    """The contradictions between two values that both ask for something."""

    def both(one: str, other: str, why: str) -> Iterator[Contradiction]:
        if {one, other} <= set(written):
            yield Contradiction(
                (one, other), f"{_shown(p, one)} and {_shown(p, other)} contradict: {why}"
            )

    if p.max_steps > 0:
        yield from both("max_steps", "num_train_epochs", "each sets the end; leave one out")
        if p.warmup_steps >= p.max_steps and {"warmup_steps", "max_steps"} & set(written):
            names = ("warmup_steps", "max_steps")
            yield Contradiction(
                names if "warmup_steps" in written else names[::-1],
                f"{_shown(p, 'warmup_steps')} is not below {_shown(p, 'max_steps')}: the learning "
                "rate would never reach its height; warm up for fewer steps",
            )
    if p.pad_to_max_length and p.packing:
        yield from both("pad_to_max_length", "packing", "packs have no padding; leave one out")
    if p.evaluation_strategy == "steps" and p.evaluation_steps_interval and _asks(p, "eval_steps"):
        yield from both(
            "evaluation_steps_interval", "eval_steps", "each sets the interval; leave one out"
        )


def _asks(p: FineTuneParameters, name: str) -> bool:
    value = getattr(p, name)
    return bool(value) and value != FineTuneParameters.model_fields[name].default


def _shown(p: FineTuneParameters, name: str) -> str:
    return f"{name}={_text(getattr(p, name))}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
