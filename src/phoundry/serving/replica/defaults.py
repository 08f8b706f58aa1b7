"""What a request that does not say gets: the deployment's defaults.

They stand in the replica's spec.json under `defaults` and may change while the replica serves: the
file is looked at before each request, so a change needs no restart and drops no request. A request
that is being answered keeps those it began with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phoundry.data import ChatMessage, ChatTokenizer
from phoundry.errors import InvalidInput, PhoundryError
from phoundry.serving.replica.live import Live
from phoundry.specs.deployment import GenerationDefaults

NONE = GenerationDefaults()


def live_defaults(spec_path: Path) -> Live[GenerationDefaults]:
    """The defaults of one spec.json, as they stand when they are asked for."""
    return Live(spec_path, _of, NONE)


def _of(spec: dict[str, Any]) -> GenerationDefaults:
    return GenerationDefaults.model_validate(spec.get("defaults") or {})


def filled(
    values: Mapping[str, Any], defaults: GenerationDefaults, *names: str
) -> Mapping[str, Any]:
    """`values` with the default of every one of `names` that it leaves out (or gives as null).

    Anything that the request says wins, also a temperature of 0 and an empty list of stops.
    """
    known = defaults.model_dump(include=set(names), exclude_none=True)
    missing = {name: value for name, value in known.items() if values.get(name) is None}
    return {**values, **missing} if missing else values


def with_system(messages: list[ChatMessage], defaults: GenerationDefaults) -> list[ChatMessage]:
    """The conversation under the default system prompt, unless it has a system message."""
    if not defaults.system_prompt or any(message["role"] == "system" for message in messages):
        return messages
    return [ChatMessage(role="system", content=defaults.system_prompt), *messages]


def check(defaults: GenerationDefaults, tokenizer: ChatTokenizer, context_length: int) -> None:
    """Make sure that a short question can be asked under these defaults.

    Raises:
        InvalidInput: the model's template takes no system message, or the prompt or max_tokens are
            larger than the context.
    """
    check_max_tokens(defaults, context_length)
    if not defaults.system_prompt:
        return
    try:
        tokens = len(tokenizer.render_prompt(with_system([_QUESTION], defaults)))
    except PhoundryError as error:
        raise InvalidInput(
            f"The default system prompt cannot be used with this model: {error.message}",
            remedy="Leave it out, or write it into the training data instead.",
        ) from error
    if tokens >= context_length:
        raise InvalidInput(
            f"The default system prompt makes {tokens:,} tokens of the shortest conversation; the "
            f"context of this deployment is {context_length:,} tokens, the answer included.",
            remedy="Shorten it, or deploy with a larger context_length.",
        )


def check_max_tokens(defaults: GenerationDefaults, context_length: int) -> None:
    """Raise InvalidInput where the default answer is larger than the whole context."""
    if defaults.max_tokens is not None and defaults.max_tokens > context_length:
        raise InvalidInput(
            f"defaults.max_tokens is {defaults.max_tokens:,}; the context of this deployment is "
            f"{context_length:,} tokens.",
            remedy="Choose a smaller max_tokens, or deploy with a larger context_length.",
        )


_QUESTION = ChatMessage(role="user", content="Hi")
