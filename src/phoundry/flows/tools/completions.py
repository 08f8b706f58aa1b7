"""OpenAI's completions over plain HTTP: one answer, or its pieces as they come. Every call is a
span with what was asked, what came back and the tokens it took."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from phoundry.flows.attributes import Attributes
from phoundry.flows.document import is_list, is_mapping
from phoundry.flows.errors import OpenAIError
from phoundry.flows.spans import Span, context_headers, span
from phoundry.flows.tools.http import SHOWN, Target, answered, reason_of
from phoundry.flows.tools.model_errors import APIConnectionError, APIResponseError

END = "[DONE]"
CHAT, COMPLETION, EMBEDDINGS = "/chat/completions", "/completions", "/embeddings"
ASKED = ("messages", "prompt", "input")

# What a message has in OpenAI's own client; flows ask for these whether they are there or not.
MESSAGE_KEYS = (
    "content",
    "refusal",
    "role",
    "annotations",
    "audio",
    "function_call",
    "tool_calls",
)


class Answer(Attributes):
    """An answer whose keys are attributes at any depth: `answer.choices[0].message.content`."""

    @classmethod
    def of(cls, value: Any) -> Any:
        """`value` with every mapping in it as an `Answer`."""
        if is_mapping(value):
            return cls({key: cls.of(item) for key, item in value.items()})
        return [cls.of(item) for item in value] if is_list(value) else value


def whole_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """`message` with None for what it does not have."""
    return {**dict.fromkeys(MESSAGE_KEYS), **message}


def complete(
    target: Target,
    path: str,
    body: Mapping[str, Any],
    *,
    node: str,
    seconds: float | None = None,
) -> dict[str, Any]:
    """The whole answer, which has `choices`: `[{"message": {"content"}}]` or `[{"text"}]`.

    Raises:
        OpenAIError: not reached, refused, or not an answer of this kind.
    """
    with _call(target, path, body) as it:
        answer = ask(target, path, body, node=node, seconds=seconds)
        choices = _choices(answer, node)
        if it is not None:
            first: dict[str, Any] = choices[0] if choices else {}
            it.attributes["answer"] = first.get("message") or first.get("text")
            it.attributes["finish_reason"] = first.get("finish_reason")
            _count(it, answer)
        return answer


def ask(
    target: Target,
    path: str,
    body: Mapping[str, Any],
    *,
    node: str,
    seconds: float | None = None,
) -> dict[str, Any]:
    """The JSON object that the server answers, whatever is in it.

    Raises:
        OpenAIError: not reached, refused, not a JSON object, or an `error` in its place.
    """
    with answered(target, path, body, node=node, seconds=seconds) as response:
        response.read()
        return _object(response.text, node)


def stream(
    target: Target,
    path: str,
    body: Mapping[str, Any],
    *,
    node: str,
    seconds: float | None = None,
) -> Iterator[str]:
    """The text of the first choice, piece by piece.

    Raises:
        OpenAIError: not reached, refused, broken off before `[DONE]`, or not such a stream.
    """
    asked = {**body, "stream": True}
    with _call(target, path, asked) as it:
        # Who reads the pieces is no part of the call: the span is ended below, from here.
        context = context_headers()
    pieces: list[str] = []
    try:
        for answer in _events(target, path, asked, node, seconds, context):
            pieces.append(_piece(_choices(answer, node)))
            if it is not None:
                _count(it, answer)
            yield pieces[-1]
    except OpenAIError as error:
        if it is not None:
            it.error = (error.code, error.message)
        raise
    finally:
        if it is not None:
            it.end = time.time_ns()
            it.attributes["answer"] = "".join(pieces)


def _events(
    target: Target,
    path: str,
    asked: Mapping[str, Any],
    node: str,
    seconds: float | None,
    context: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    with answered(target, path, asked, node=node, seconds=seconds, context=context) as response:
        for line in response.iter_lines():
            data = line.removeprefix("data:").strip()
            if not line.startswith("data:") or not data:
                continue
            if data == END:
                return
            yield _object(data, node)
        raise APIConnectionError(
            f"Execution failure in '{node}': the answer broke off before its end."
        )


def _call(target: Target, path: str, body: Mapping[str, Any]) -> span:
    """The span of a call; the key is in the headers, which are no part of it."""
    asked = {name: body[name] for name in ASKED if name in body}
    parameters = {name: value for name, value in body.items() if name not in (*ASKED, "model")}
    return span(
        "model",
        target.model or path,
        model=target.model,
        url=target.url,
        operation=path.strip("/"),
        parameters=parameters,
        **asked,
    )


def _count(it: Span, answer: Mapping[str, Any]) -> None:
    if answer.get("model"):
        it.attributes["response_model"] = answer["model"]
    usage: Any = answer.get("usage")
    if is_mapping(usage):
        it.attributes["input_tokens"] = usage.get("prompt_tokens")
        it.attributes["output_tokens"] = usage.get("completion_tokens")
        it.attributes["total_tokens"] = usage.get("total_tokens")


def _object(text: str, node: str) -> dict[str, Any]:
    """The object in `text`; an `error` in it is the server's, and is shown."""
    try:
        answer: Any = json.loads(text)
    except ValueError:
        answer = None
    if not is_mapping(answer):
        raise _no_answer(text, node)
    if answer.get("error"):
        raise APIResponseError(f"Execution failure in '{node}': {reason_of(answer['error'])}")
    return answer


def _choices(answer: Mapping[str, Any], node: str) -> list[dict[str, Any]]:
    choices: Any = answer.get("choices")
    if not isinstance(choices, list) or not all(is_mapping(item) for item in choices):  # pyright: ignore[reportUnknownVariableType]
        raise _no_answer(json.dumps(answer), node)
    return choices  # pyright: ignore[reportUnknownVariableType]


def _piece(choices: list[dict[str, Any]]) -> str:
    choice = choices[0] if choices else {}
    delta: dict[str, Any] = choice.get("delta") or {}
    return delta.get("content") or choice.get("text") or ""


def _no_answer(text: str, node: str) -> APIResponseError:
    return APIResponseError(
        f"Execution failure in '{node}': the server's answer has no choices: {text[:SHOWN]}",
        remedy="Is api_base the base of an OpenAI-compatible API (such as …/v1)?",
    )
