"""The input of a batch: OpenAI's lines, or rows of a data set; every bad line is told.

A line is one of

    {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": […]}}
    {"messages": […]}                    a conversation; a last answer is left out and asked for
    {"prompt": […], "chosen": …}         a preference pair; its prompt is asked
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from phoundry.data import Refusals, RefusedRow
from phoundry.serving.asgi import BODY_LIMIT
from phoundry.serving.paths import CHAT, COMPLETIONS, EMBEDDINGS

URLS = (CHAT, COMPLETIONS, EMBEDDINGS)
_LINE_KEYS = frozenset({"custom_id", "method", "url", "body"})
_MESSAGE_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id")
_ID_LIMIT = 512  # characters, as OpenAI's


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `index` counts the lines of the input that say anything, bad ones too."""

    index: int
    custom_id: str
    url: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that cannot be asked. It has its place in the order all the same."""

    index: int
    row: RefusedRow


class _Wrong(Exception):
    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


def read(path: Path, name: str) -> Iterator[Request | Bad]:
    """Every line of `path` that is not blank, in order. `name` is the file's, for messages."""
    seen: set[bytes] = set()
    index = 0
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file), start=1):
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not text.strip():
                continue
            try:
                found = _request(text, index, number)
                _refuse_twice(found.custom_id, seen)
                yield found
            except _Wrong as wrong:
                yield Bad(index, RefusedRow(name, number, wrong.kind, wrong.reason))
            index += 1


def check(path: Path, name: str, *, skip_bad: int = 0) -> int:
    """How many lines there are to answer, bad ones included.

    Raises:
        InvalidInput: more than `skip_bad` lines are bad (all of them told, by line), or none is
            good.
    """
    refusals = Refusals(allowed=skip_bad)
    good = 0
    for each in read(path, name):
        if isinstance(each, Bad):
            refusals.add(each.row)
        else:
            good += 1
    refusals.check(good, name)
    return good + refusals.total


def _lines(file: Any) -> Iterator[bytes]:
    """Lines of at most one byte more than may be sent; the rest of a longer one is passed over."""
    while line := file.readline(BODY_LIMIT + 1):
        yield line
        while len(line) > BODY_LIMIT and not line.endswith(b"\n"):
            line = file.readline(BODY_LIMIT + 1)
            if not line:
                return


def _request(line: bytes, index: int, number: int) -> Request:
    if len(line) > BODY_LIMIT:
        raise _Wrong("too long", f"more than {BODY_LIMIT:,} bytes; the limit is that of a request")
    try:
        value = json.loads(line)
    except UnicodeDecodeError as error:
        raise _Wrong("not UTF-8", f"not UTF-8: byte {error.start} is invalid") from None
    except ValueError as error:
        raise _Wrong("not JSON", f"not JSON: {error}") from None
    except RecursionError:
        raise _Wrong("not JSON", "not usable JSON: it is nested too deeply") from None
    if not isinstance(value, dict):
        raise _Wrong("not an object", f"a JSON {type(value).__name__}; it must be an object {{…}}")
    held = cast("dict[str, Any]", value)
    if held.keys() & {"custom_id", "body", "url"}:
        return _openai(held, index)
    return Request(index, f"row-{number}", CHAT, _conversation(held))


def _openai(value: dict[str, Any], index: int) -> Request:
    """A line of OpenAI's Batch API."""
    if unknown := sorted(value.keys() - _LINE_KEYS):
        raise _Wrong("unknown key", f"unknown key '{unknown[0]}'; a line has {_listed(_LINE_KEYS)}")
    custom_id, body, url = value.get("custom_id"), value.get("body"), value.get("url", CHAT)
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= _ID_LIMIT:
        raise _Wrong("no custom_id", f"custom_id must be a text of 1 to {_ID_LIMIT} characters")
    if value.get("method", "POST") != "POST":
        raise _Wrong("other method", f"method is {value['method']!r}; it must be 'POST'")
    if url not in URLS:
        raise _Wrong("other url", f"url is {url!r}; it must be one of {', '.join(URLS)}")
    if not isinstance(body, dict):
        raise _Wrong("no body", "body must be an object {…}: the request itself")
    held = cast("dict[str, Any]", body)
    if held.get("stream"):
        raise _Wrong("stream", "body.stream is not for a batch: answers are written whole")
    part = {CHAT: "messages", COMPLETIONS: "prompt"}.get(str(url), "input")
    if not held.get(part):
        raise _Wrong(f"no {part}", f"body.{part} is missing or empty")
    return Request(index, custom_id, str(url), held)


def _conversation(value: dict[str, Any]) -> dict[str, Any]:
    """The request that a row of a data set makes: what comes before its last answer."""
    messages: Any = value.get("messages", value.get("prompt"))
    if not isinstance(messages, list) or not messages:
        raise _Wrong(
            "no request",
            'neither "custom_id" and "body" (a request) nor "messages" (a conversation) is there',
        )
    turns: list[dict[str, Any]] = []
    for turn in cast("list[Any]", messages):
        if not isinstance(turn, dict) or "role" not in turn:
            raise _Wrong("bad message", 'every message must be {"role": …, "content": …}')
        held = cast("dict[str, Any]", turn)
        turns.append({key: held[key] for key in _MESSAGE_KEYS if key in held})
    while turns and turns[-1]["role"] == "assistant":
        turns.pop()
    if not turns:
        raise _Wrong("nothing asked", "the conversation holds answers alone")
    tools = value.get("tools")
    return {"messages": turns} | ({"tools": tools} if tools else {})


def _refuse_twice(custom_id: str, seen: set[bytes]) -> None:
    digest = hashlib.blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if digest in seen:
        raise _Wrong("custom_id twice", f"custom_id '{custom_id}' stands in an earlier line, too")
    seen.add(digest)


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
