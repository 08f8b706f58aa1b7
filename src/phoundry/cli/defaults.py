"""The options of a deployment's defaults, and what they say."""

from __future__ import annotations

from typing import Annotated, Any

import typer

SystemPrompt = Annotated[
    str | None,
    typer.Option("--system-prompt", help="Said first where a conversation has no system message."),
]
Temperature = Annotated[
    float | None,
    typer.Option(help="0 (always the likeliest word) to 2, where a request is silent."),
]
TopP = Annotated[float | None, typer.Option(help="Share of the likeliest words to choose from.")]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, help="Longest answer, where a request is silent.")
]
Stop = Annotated[
    list[str] | None, typer.Option("--stop", help="Text that ends an answer; up to four times.")
]


def given(
    system_prompt: str | None,
    temperature: float | None,
    top_p: float | None,
    max_tokens: int | None,
    stop: list[str] | None,
) -> dict[str, Any]:
    """The defaults that the command line names."""
    values: dict[str, Any] = {
        "system_prompt": system_prompt,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "stop": stop or None,
    }
    return {name: value for name, value in values.items() if value is not None}
