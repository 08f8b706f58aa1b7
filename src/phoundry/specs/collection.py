"""What of a deployment's requests and answers is kept, under Azure ML's keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, cast

from pydantic import Field

from phoundry.specs.base import Spec, View

Rolling = Literal["year", "month", "day", "hour", "minute"]


class Collection(Spec):
    enabled: bool = True
    sampling_rate: float | None = Field(
        default=None, ge=0, le=1, description="Instead of the collector's"
    )


class DataCollector(Spec):
    """`collections` are model_inputs and model_outputs; the two of a request are sampled together
    where their rates are the same, and share its id."""

    collections: dict[Literal["model_inputs", "model_outputs"], Collection] = Field(
        default_factory=lambda: {"model_inputs": Collection(), "model_outputs": Collection()}
    )
    rolling_rate: Rolling = Field(default="hour", description="A new file for each")
    sampling_rate: float = Field(default=1.0, ge=0, le=1, description="Share of requests kept")


class Exchange(View):
    """One request and its answer, as they were collected; None for a side that was not kept."""

    id: str = Field(description="The request's id (x-request-id)")
    time: datetime
    path: str = ""
    model: str = ""
    request: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None

    def conversation(self) -> dict[str, Any] | None:
        """A row of training data, `{"messages": […]}`: what was said, and what was answered.

        None where a side is missing, the request was no conversation, or the answer was cut off.
        """
        if self.request is None or self.answer is None:
            return None
        asked, said = self._openai() if "messages" in self.request else self._azure()
        if not isinstance(asked, list) or not isinstance(said, dict):
            return None
        answer = cast("dict[str, Any]", said)
        if not (answer.get("content") or answer.get("tool_calls")):
            return None
        kept = {key: answer[key] for key in ("content", "tool_calls") if answer.get(key)}
        turn = {"role": "assistant", "content": "", **kept}
        row: dict[str, Any] = {"messages": [*cast("list[Any]", asked), turn]}
        return row | ({"tools": self.request["tools"]} if self.request.get("tools") else {})

    def _openai(self) -> tuple[Any, Any]:
        assert self.request is not None and self.answer is not None  # noqa: S101, PT018
        choices: list[dict[str, Any]] = self.answer.get("choices") or [{}]
        whole = choices[0].get("finish_reason") in ("stop", "tool_calls")
        return self.request["messages"], choices[0].get("message") if whole else None

    def _azure(self) -> tuple[Any, Any]:
        assert self.request is not None and self.answer is not None  # noqa: S101, PT018
        data: dict[str, Any] = self.request.get("input_data") or {}
        parameters: dict[str, Any] = data.get("parameters") or {}
        if parameters.get("return_full_text"):
            return None, None  # the answer repeats the question
        return data.get("input_string"), {"content": self.answer.get("output")}


class CollectedPage(View):
    """Some of what was collected, oldest first. `next`: where the page after it begins."""

    exchanges: list[Exchange]
    next: str
    finished: bool = Field(description="There was nothing more when this was read")
