"""Pieces of text on their way out while a node still runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Piece:
    """`send` gets the pieces of the node `node` while the run lasts."""

    node: str
    send: Callable[[str], None]
    over: bool = False


_current: ContextVar[Piece | None] = ContextVar("piece", default=None)


@contextmanager
def gathered(piece: Piece | None) -> Generator[None]:
    """Send pieces to `piece` for the length of the block, in nodes that run in threads too."""
    token = _current.set(piece)
    try:
        yield
    finally:
        _current.reset(token)
        if piece is not None:
            piece.over = True  # a node left behind by a failed run must not speak into the next


def wanted(node: str) -> bool:
    """Whether someone waits for the pieces of `node`."""
    piece = _current.get()
    return piece is not None and piece.node == node


def joined(node: str, pieces: Iterable[str]) -> str:
    """The whole text of `pieces`; each is sent on first where it is wanted."""
    piece = _current.get()
    if piece is not None and piece.node != node:
        piece = None
    parts: list[str] = []
    for text in pieces:
        parts.append(text)
        if piece is not None and text and not piece.over:
            piece.send(text)
    return "".join(parts)
