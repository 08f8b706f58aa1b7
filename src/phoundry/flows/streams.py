"""Pieces of text on their way out while a node still runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

Send = Callable[[str], None]


@dataclass(slots=True)
class Pieces:
    """Who gets the pieces of which node while the run lasts; a node may be behind two outputs."""

    send: Mapping[str, tuple[Send, ...]]
    over: bool = False


_current: ContextVar[Pieces | None] = ContextVar("pieces", default=None)


@contextmanager
def gathered(send: Mapping[str, tuple[Send, ...]]) -> Generator[None]:
    """Send pieces to `send`, by node, for the length of the block, in nodes' threads too."""
    pieces = Pieces(send) if send else None
    token = _current.set(pieces)
    try:
        yield
    finally:
        _current.reset(token)
        if pieces is not None:
            pieces.over = True  # a node left behind by a failed run must not speak into the next


def awaited() -> bool:
    """Whether anyone waits for pieces of any node."""
    return _current.get() is not None


def wanted(node: str) -> bool:
    """Whether someone waits for the pieces of `node`."""
    pieces = _current.get()
    return pieces is not None and node in pieces.send


def joined(node: str, texts: Iterable[str]) -> str:
    """The whole of `texts`; each is sent on first where it is wanted."""
    send = _sender(node)
    parts: list[str] = []
    for text in texts:
        parts.append(text)
        if send is not None:
            send(text)
    return "".join(parts)


async def joined_later(node: str, items: AsyncIterator[Any]) -> str:
    """`joined` over what an async generator gives."""
    send = _sender(node)
    parts: list[str] = []
    async for item in items:
        parts.append(str(item))
        if send is not None:
            send(parts[-1])
    return "".join(parts)


def _sender(node: str) -> Send | None:
    pieces = _current.get()
    if pieces is None or node not in pieces.send:
        return None
    everyone = pieces.send[node]

    def send(text: str) -> None:
        if text and not pieces.over:
            for one in everyone:
                one(text)

    return send
