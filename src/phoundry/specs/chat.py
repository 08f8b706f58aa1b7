"""A conversation as OpenAI's chat format writes it."""

from __future__ import annotations

from typing import Literal, get_args

from phoundry.specs.base import Spec

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)


class Message(Spec):
    role: Role
    content: str
