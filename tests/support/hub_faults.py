"""What the hub of the tests can be told to do wrong with one file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    pass


@dataclass(frozen=True)
class Drop(Fault):
    """The connection ends after so many bytes of the body."""

    after: int


@dataclass(frozen=True)
class Stall(Fault):
    """Nothing more comes after so many bytes, for so many seconds."""

    after: int
    seconds: float = 3.0


@dataclass(frozen=True)
class WrongBytes(Fault):
    """The right number of bytes, none of them right."""


@dataclass(frozen=True)
class Oversized(Fault):
    """More bytes than the listing told, and a Content-Length that agrees with them."""

    more: int


@dataclass(frozen=True)
class Refuse(Fault):
    """Another answer than the file, such as 503."""

    status: int
    code: str = "ServerError"
