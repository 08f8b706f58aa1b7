"""A prompty as it is called: inputs filled in, the model asked, its answer shaped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from phoundry.flows.document import is_list, is_mapping
from phoundry.flows.messages import (
    escape,
    image_lines,
    images_in,
    listed,
    plain,
    split_messages,
)
from phoundry.flows.prompty.definition import declared_inputs
from phoundry.flows.prompty.errors import (
    ChatAPIInvalidRoleError,
    InvalidOutputKeyError,
    MissingRequiredInputError,
)
from phoundry.flows.prompty.images import as_image
from phoundry.flows.prompty.model import Model, find_target, merged, read_model
from phoundry.flows.prompty.references import read_sample, resolve
from phoundry.flows.tools.completions import (
    CHAT,
    COMPLETION,
    Answer,
    complete,
    stream,
    whole_message,
)
from phoundry.flows.tools.model_errors import LLMError
from phoundry.flows.tools.offers import checked_offers
from phoundry.flows.tools.prompt import parse_template, render


class Prompt:
    """The prompty of `file` with its front matter `settings`, `over` them what a caller gives.

    Raises (when made):
        FlowError: the model's section, a referenced file or the template is wrong.
    """

    def __init__(
        self,
        file: Path,
        settings: Mapping[str, Any],
        template: str,
        over: Mapping[str, Any] | None = None,
    ) -> None:
        self.file = file
        data: dict[str, Any] = resolve(merged(dict(settings), dict(over or {})), file.parent)
        self.name = str(data.get("name") or file.stem)
        self.model: Model = read_model(data.get("model"), file.parent)
        self.inputs = declared_inputs(data, file.parent)
        self.sample: Any = data.get("sample")
        self.outputs: dict[str, Any] = data.get("outputs") or {}
        self.source = template
        self.template = parse_template(image_lines(template), file.name)

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the template is rendered with: `given`, else the sample; defaults; images made.

        Raises:
            MissingRequiredInputError: an input without default is absent.
        """
        given = given or read_sample(self.sample, self.file.parent)
        missing = [
            name
            for name, item in self.inputs.items()
            if name not in given and "default" not in item
        ]
        if missing:
            raise MissingRequiredInputError(
                f"Missing required inputs: {missing}",
                remedy="Give a value for each, or write a `default` or `sample` in the prompty.",
            )
        found = {name: given.get(name, item.get("default")) for name, item in self.inputs.items()}
        return {name: as_image(value, self.file.parent) for name, value in found.items()}

    def prompt(self, given: Mapping[str, Any]) -> Any:
        """The messages for a chat model, the text for one that completes.

        Role words in inputs never start a message of their own.

        Raises:
            ChatAPIInvalidRoleError: no message begins the prompt.
        """
        values = self.values(given)
        text = render(self.template, escape(listed(values), values))
        if self.model.api == "completion":
            return plain(text)
        try:
            return split_messages(text, images_in(values))
        except ValueError as error:
            raise ChatAPIInvalidRoleError(
                f"The prompty {self.file.name} can't be sent to a chat model: {error}.",
                remedy="Begin the prompt with `system:` or `user:` on a line of its own.",
            ) from None

    def __call__(
        self,
        given: Mapping[str, Any],
        *,
        seconds: float | None = None,
        stream_text: bool = False,
    ) -> Any:
        """The answer to the inputs `given`: text, or a mapping where JSON is asked for, or an
        iterator of pieces with `stream: true` (`stream_text` asks for it where the answer is a
        text anyway), or the whole answer with `response: all`.

        Raises:
            FlowError: inputs, model or answer are wrong.
        """
        asked = self.prompt(given)
        target = find_target(self.model, f"the prompty '{self.name}'")
        path = COMPLETION if self.model.api == "completion" else CHAT
        body = {
            "model": target.model,
            "prompt" if path == COMPLETION else "messages": asked,
            **checked_offers(self._parameters()),
        }
        if not body["model"]:
            del body["model"]
        wants_json = _wants_json(body)
        streams = body.pop("stream", False) or (stream_text and not wants_json | ("tools" in body))
        if streams and self.model.response != "all":
            pieces = stream(target, path, body, node=self.name, seconds=seconds)
            return self._shaped("".join(pieces)) if wants_json else pieces
        answer = complete(target, path, body, node=self.name, seconds=seconds)
        if self.model.response == "all":
            return Answer.of(answer)
        return self._first(answer, wants_json)

    def _parameters(self) -> dict[str, Any]:
        unsent = ("extra_headers", "timeout")
        return {
            name: value
            for name, value in self.model.parameters.items()
            if name not in unsent and value is not None
        }

    def _first(self, answer: Mapping[str, Any], wants_json: bool) -> Any:
        choice: dict[str, Any] = answer["choices"][0] if answer["choices"] else {}
        if self.model.api == "completion":
            text: Any = choice.get("text") or ""
        else:
            message: dict[str, Any] = choice.get("message") or {}
            if choice.get("finish_reason") in ("tool_calls", "function_calls"):
                return whole_message(message)
            text = message.get("content") or ""
        return self._shaped(text) if wants_json else text

    def _shaped(self, text: str) -> Any:
        """The JSON that the model wrote; those of its keys that `outputs` names, where it does."""
        try:
            found: Any = json.loads(text)
        except ValueError as error:
            raise LLMError(
                f"The prompty '{self.name}' asks for JSON, and the model answered none: {error}.",
                remedy="Say in the prompt that the answer is JSON, and allow enough max_tokens.",
            ) from None
        if not self.outputs or not is_mapping(found):
            return found
        for name in self.outputs:
            if name not in found:
                raise InvalidOutputKeyError(f"Cannot find {name} in response {list(found)}.")
        return {name: found[name] for name in self.outputs}

    def token_count(self, given: Mapping[str, Any]) -> int:
        """About how many tokens the prompt and the longest answer take: counted by `tiktoken` where
        it is installed, else one for every four characters, and three for a message."""
        asked = self.prompt(given)
        answer = self.model.parameters.get("max_tokens")
        count = _counter()
        messages: list[Any] = asked if is_list(asked) else [{"content": asked}]
        tokens = sum(3 + count(str(part)) for item in messages for part in item.values())
        return tokens + 3 + (answer if isinstance(answer, int) else 0)


def _wants_json(body: Mapping[str, Any]) -> bool:
    wanted: Any = body.get("response_format")
    return is_mapping(wanted) and wanted.get("type") in ("json_object", "json_schema")


def _counter() -> Callable[[str], int]:
    try:
        import tiktoken  # type: ignore[import-not-found]
    except ImportError:
        return _quarters
    encode: Callable[[str], list[int]] = tiktoken.get_encoding("cl100k_base").encode  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return lambda text: len(encode(text))  # pyright: ignore[reportUnknownArgumentType]


def _quarters(text: str) -> int:
    return (len(text) + 3) // 4
