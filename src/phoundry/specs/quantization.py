"""How many bits a served weight has: the kinds of GGUF that are written here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BeforeValidator, Field

from phoundry.errors import InvalidInput, nearest

Quantization = Literal["Q8_0", "Q5_1", "Q4_0", "F16", "BF16", "F32"]
QUANTIZATIONS = cast("tuple[Quantization, ...]", get_args(Quantization))
DEFAULT: Quantization = "Q8_0"  # of a model that is served and names none
WHOLE = ("transformers", "vllm")  # engines that serve the checkpoint itself, and no GGUF of it


def quantization_named(text: str) -> Quantization:
    """The kind called `text`, whatever its case.

    Raises:
        InvalidInput: there is none of that name; with the nearest.
    """
    name = text.strip().upper().replace("-", "_")
    for kind in QUANTIZATIONS:
        if kind == name:
            return kind
    near = nearest(name, QUANTIZATIONS, limit=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    raise InvalidInput(
        f"The quantisation '{text}' is not supported.",
        remedy=f"{meant}Choose one of {', '.join(QUANTIZATIONS)}.",
    )


def _named(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return quantization_named(value)
    except InvalidInput as error:
        raise ValueError(str(error)) from None


def served_as(engine: str, named: Quantization | None) -> Quantization | None:
    """What a deployment serves; None for an engine that takes the checkpoint itself."""
    return None if engine in WHOLE else named or DEFAULT


def check_engine(engine: str, named: Quantization | None) -> None:
    """Raise ValueError where a kind is named for an engine that has none."""
    if named is not None and engine in WHOLE:
        raise ValueError(
            f"quantization {named} is for the engine llama.cpp; {engine} serves the "
            "checkpoint as it is: leave one of the two out"
        )


QuantizationField = Annotated[
    Quantization | None,
    BeforeValidator(_named),
    Field(description="Kind of the GGUF that llama.cpp serves; Q8_0 unless named"),
]
