"""The arguments of a flex flow's class that are kept with a built or a deployed flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phoundry.errors import UsageError
from phoundry.flows.model import Flow
from phoundry.flows.session.written import names_of_secrets


def check_kept(flow: Flow, init: Mapping[str, Any]) -> None:
    """Whether `init` may be kept: it is written into a file, or shown to whoever looks.

    Raises:
        UsageError: `flow` takes no arguments, or one is a secret.
    """
    if not init:
        return
    if flow.kind != "flex":
        raise UsageError(
            f"{flow.file.name} is no flex flow, and takes no init ({', '.join(init)}).",
            remedy="Leave it out; a node's inputs stand in the flow's file.",
        )
    if secrets := names_of_secrets(init):
        raise UsageError(
            f"init holds what looks like a secret: {', '.join(secrets)}.",
            remedy="Keep it in a connection, and let the class take that: init NAME=CONNECTION.",
        )
