"""Chat completions as OpenAI's clients read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phoundry.data import ToolCall
from phoundry.serving.replica.call_formats import CallReader
from phoundry.serving.replica.events import DONE, Head, chat_logprobs, cut, filled, sse
from phoundry.serving.replica.generation import Piece

_TEXT = "\x00"  # stands for the text in an event that is cut there


class ChatReply:
    """Writes the answer to one request. Calls of tools come at the end, each of them whole."""

    def __init__(
        self, head: Head, include_usage: bool, reader: CallReader | None, logprobs: bool
    ) -> None:
        self._head = head
        self._include_usage = include_usage
        self._reader = reader
        self._logprobs = logprobs
        self._ends: tuple[bytes, bytes] | None = None

    def whole(self, piece: Piece) -> dict[str, Any]:
        text, calls = piece.text, list[ToolCall]()
        if self._reader is not None:
            said = self._reader.feed(text)
            rest, calls = self._reader.finish()
            text = said + rest
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if calls:
            message.update(content=text.strip() or None, tool_calls=calls)
        choice = {
            "index": 0,
            "message": message,
            "logprobs": chat_logprobs(piece.logprobs) if self._logprobs else None,
            "finish_reason": _reason(piece, calls),
        }
        return {
            **self._head.of(),
            "choices": [choice],
            "usage": self._head.usage(piece.tokens),
        }

    def first(self) -> bytes:
        """The event that opens a stream: the role."""
        return self._event({"role": "assistant", "content": ""})

    def events(self, piece: Piece) -> bytes:
        parts: list[bytes] = []
        text, calls = piece.text, list[ToolCall]()
        if self._reader is not None:
            text = self._reader.feed(text)
            if piece.finish_reason:
                rest, calls = self._reader.finish()
                text += rest
        if self._logprobs:
            if text or piece.logprobs:
                parts.append(self._event({"content": text}, logprobs=chat_logprobs(piece.logprobs)))
        elif text:
            parts.append(self._text(text))
        parts += [
            self._event({"tool_calls": [{"index": index, **call}]})
            for index, call in enumerate(calls)
        ]
        if piece.finish_reason:
            parts.append(self._event({}, _reason(piece, calls)))
            if self._include_usage:
                head = self._head.of("chat.completion.chunk")
                usage = self._head.usage(piece.tokens)
                parts.append(sse({**head, "choices": [], "usage": usage}))
            parts.append(DONE)
        return b"".join(parts)

    def _text(self, text: str) -> bytes:
        if self._ends is None:
            self._ends = cut(self._chunk({"content": _TEXT}, None, None), _TEXT)
        return filled(self._ends, text)

    def _event(
        self,
        delta: dict[str, Any],
        finish_reason: str | None = None,
        logprobs: dict[str, Any] | None = None,
    ) -> bytes:
        return sse(self._chunk(delta, finish_reason, logprobs))

    def _chunk(
        self, delta: dict[str, Any], finish_reason: str | None, logprobs: dict[str, Any] | None
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return {**self._head.of("chat.completion.chunk"), "choices": [choice]}


def _reason(piece: Piece, calls: Sequence[ToolCall]) -> str | None:
    return "tool_calls" if calls and piece.finish_reason == "stop" else piece.finish_reason
