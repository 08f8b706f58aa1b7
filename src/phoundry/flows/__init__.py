"""Prompt flow's flows: load, check, schedule, run; in this process or in a session of their own.

    from phoundry.flows import load_flow
    load_flow("my-flow")(question="…")

Nothing is imported before it is asked for: `load_flow` costs a YAML reader, `FlowSession` pydantic.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phoundry.flows.chat import ChatRoles, chat_roles
    from phoundry.flows.connections import ConnectionResolver, choose_connections
    from phoundry.flows.errors import FlowError
    from phoundry.flows.library import FlowFunction
    from phoundry.flows.load import load_flow
    from phoundry.flows.model import Flow
    from phoundry.flows.session.host import FlowSession, failure
    from phoundry.flows.templates import init_flow

__all__ = [
    "ChatRoles",
    "ConnectionResolver",
    "Flow",
    "FlowError",
    "FlowFunction",
    "FlowSession",
    "chat_roles",
    "choose_connections",
    "failure",
    "init_flow",
    "load_flow",
]

_HOMES = {
    "ChatRoles": "chat",
    "ConnectionResolver": "connections",
    "Flow": "model",
    "FlowError": "errors",
    "FlowFunction": "library",
    "FlowSession": "session.host",
    "chat_roles": "chat",
    "choose_connections": "connections",
    "failure": "session.host",
    "init_flow": "templates",
    "load_flow": "load",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"phoundry.flows.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'phoundry.flows' has no attribute '{name}'")
