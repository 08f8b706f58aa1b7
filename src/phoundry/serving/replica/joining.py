"""One answer of the events of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

_DONE = b"[DONE]"


def joined(stream: bytes) -> dict[str, Any] | None:
    """The answer that the same request without `stream` would have got, or None for a stream that
    did not come to its end.

    Of OpenAI's chat and completion chunks, one choice; likelihoods are left out.
    """
    answer: dict[str, Any] | None = None
    ended = False
    for data in _events(stream):
        if data == _DONE:
            ended = True
            continue
        event: dict[str, Any] = json.loads(data)
        if "error" in event:
            return None
        if answer is None:
            answer = {
                key: value
                for key, value in event.items()
                if key in ("id", "created", "model", "system_fingerprint")
            }
            kind = str(event.get("object", ""))
            answer["object"] = kind.removesuffix(".chunk")
            answer["choices"] = [_blank(chat=kind.startswith("chat"))]
        if event.get("usage"):
            answer["usage"] = event["usage"]
        for choice in event.get("choices") or ():
            _add(answer["choices"][0], choice)
    return answer if ended else None


def _blank(*, chat: bool) -> dict[str, Any]:
    part: dict[str, Any] = {"message": {"role": "assistant", "content": ""}}
    return {"index": 0, **(part if chat else {"text": ""}), "finish_reason": None}


def _add(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    choice["finish_reason"] = piece.get("finish_reason") or choice["finish_reason"]
    if "message" not in choice:
        choice["text"] += piece.get("text") or ""
        return
    delta: dict[str, Any] = piece.get("delta") or {}
    message = choice["message"]
    message["content"] += delta.get("content") or ""
    for call in delta.get("tool_calls") or ():
        _add_call(message.setdefault("tool_calls", []), call)


def _add_call(calls: list[Any], piece: dict[str, Any]) -> None:
    """A piece of a tool call: its name comes once, its arguments come in parts."""
    index = int(piece.get("index", len(calls)))
    while len(calls) <= index:
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[index]
    call["id"] = piece.get("id") or call["id"]
    function = cast("dict[str, Any]", piece.get("function") or {})
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""


def _events(stream: bytes) -> Iterator[bytes]:
    for line in stream.splitlines():
        if line.startswith(b"data:"):
            yield line[5:].strip()
