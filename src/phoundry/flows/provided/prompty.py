"""`promptflow.core.Prompty` and `AsyncPrompty`: prompties called from Python."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from phoundry.errors import NotFound
from phoundry.flows.prompty.definition import read_prompty
from phoundry.flows.prompty.prompt import Prompt
from phoundry.flows.spans import span


class Prompty:
    """`Prompty.load(source="chat.prompty", model={…})(question="…")`.

    `model`, and anything else of the front matter, goes over what the file says.
    """

    def __init__(self, path: str | Path, model: Any = None, **settings: Any) -> None:
        file = Path(path).resolve()
        document, template = read_prompty(file)
        over = {**settings, **({"model": model} if model else {})}
        self.path = file
        self._prompt = Prompt(file, document.data, template, over)

    @classmethod
    def load(cls, source: str | Path, **settings: Any) -> Self:
        """The prompty in the file `source`.

        Raises:
            NotFound: there is none, or it is not a `.prompty` file.
            FlowError: what is wrong with it.
        """
        path = Path(source)
        if path.suffix != ".prompty":
            raise NotFound("Source must be a file with .prompty extension.")
        if not path.is_file():
            raise NotFound(f"Source {path.absolute()} does not exist.")
        return cls(path, **settings)

    @property
    def name(self) -> str:
        return self._prompt.name

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        """The model's answer: text, or what `response_format` and `response` ask for.

        Raises:
            TypeError: an input without its name.
            FlowError: inputs, model or answer are wrong.
        """
        if args:
            raise TypeError("Prompty can only be called with keyword arguments.")
        seconds = inputs.pop("timeout", None) if "timeout" not in self._prompt.inputs else None
        with span("function", self.name, inputs=inputs) as it:
            answer: Any = self._prompt(inputs, seconds=seconds)
            if it is not None:
                it.attributes["output"] = None if isinstance(answer, Iterator) else answer
            return answer  # pyright: ignore[reportUnknownVariableType]

    def render(self, **inputs: Any) -> str:
        """The prompt as it would be sent: for a chat model the list of messages, as text."""
        return str(self._prompt.prompt(inputs))

    def estimate_token_count(self, **inputs: Any) -> int:
        """About how many tokens the prompt and the longest answer take."""
        return self._prompt.token_count(inputs)


class AsyncPrompty(Prompty):
    """The same, awaited: `await AsyncPrompty.load(source=…)(question="…")`."""

    async def __call__(self, *args: Any, **inputs: Any) -> Any:
        return await asyncio.to_thread(super().__call__, *args, **inputs)
