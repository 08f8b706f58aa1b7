"""Other ways of writing the same value, so that a file from elsewhere need not be rewritten.

Azure writes booleans as "true" and "false" and numbers as text, which pydantic takes as it is. What
stands here means exactly the same as our own spelling; float16 ("fp16") does not, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SAME: Mapping[str, Mapping[str, str]] = {
    "evaluation_strategy": {"no": "disable", "none": "disable", "false": "disable"},
    # transformers' own AdamW, Azure's default for years, is torch's since torch has one.
    "optim": {
        "adamw_hf": "adamw_torch",
        "adamw": "adamw_torch",
        "adamw_torch_fused": "adamw_torch",
    },
    "precision": {
        "16": "16",
        "bf16": "16",
        "bfloat16": "16",
        "32": "32",
        "fp32": "32",
        "float32": "32",
    },
    "gradient_checkpointing": {
        **dict.fromkeys(("true", "1", "yes", "on"), "true"),
        **dict.fromkeys(("false", "0", "no", "off"), "false"),
    },
    "deepspeed_stage": {"2": "2", "3": "3"},
}
_WORDS = frozenset(
    {
        *("evaluation_strategy", "logging_strategy", "optim", "lr_scheduler_type", "precision"),
        *("metric_for_best_model", "truncation", "gradient_checkpointing", "deepspeed_stage"),
    }
)


def others(name: str) -> tuple[str, ...]:
    """Words that are taken for a value of `name` beside its own."""
    return tuple(_SAME.get(name, ()))


def spelt(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with words in our spelling; what is none of them stays as it is, to be refused."""
    return {name: _word(name, value) if name in _WORDS else value for name, value in values.items()}


def _word(name: str, value: Any) -> Any:
    same = _SAME.get(name, {})
    if isinstance(value, str):
        text = value.strip().lower()
        return same.get(text, text)
    # YAML reads 16 as a number, and a bare `no`, in its first version, as false.
    known = isinstance(value, bool | int | float)
    return same.get(str(value).lower(), value) if known else value
