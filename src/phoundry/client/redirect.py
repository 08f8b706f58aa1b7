"""The same flow with another model: connections that lead elsewhere for one conversation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from phoundry.client.connections import Connections
from phoundry.errors import UsageError
from phoundry.specs.connection import Connection, ConnectionValues

if TYPE_CHECKING:
    from phoundry.client.endpoints import Endpoints
    from phoundry.flows import Flow

KEYS = ("key", "api_key")
BASES = ("api_base", "base_url")


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint as a connection names it. `model` is ENDPOINT or ENDPOINT/DEPLOYMENT."""

    model: str
    scoring_uri: str
    openai_base_url: str
    key: str = field(repr=False)

    @property
    def pinned(self) -> bool:
        return "/" in self.model


def target_of(endpoints: Endpoints, name: str) -> Target:
    """The endpoint, or the endpoint's deployment, that `name` names."""
    view = endpoints.show(name.partition("/")[0])
    return Target(name, view.scoring_uri, view.openai_base_url, endpoints.secret(view))


class Redirected:
    """Connections of which those to this machine's gateway lead to `target`."""

    def __init__(self, connections: Connections, target: Target) -> None:
        self._connections = connections
        self._target = target
        self.used = False

    def list(self) -> list[Connection]:
        return self._connections.list()

    def values(self, name: str) -> ConnectionValues:
        """Raises UsageError where a deployment is named and the flow cannot name one."""
        found = self._connections.values(name)
        here = _origin(self._target.openai_base_url)
        everything = found.configs | found.secrets
        if not any(_origin(value) == here for value in everything.values()):
            return found
        self.used = True
        return found.model_copy(
            update={
                "configs": self._replaced(found.configs, here),
                "secrets": self._replaced(found.secrets, here),
            }
        )

    def _replaced(self, values: dict[str, str], here: str) -> dict[str, str]:
        result = dict(values)
        for key, value in values.items():
            if key in KEYS:
                result[key] = self._target.key
            elif key == "model":
                result[key] = self._target.model
            elif _origin(value) == here:
                is_base = key in BASES
                result[key] = self._target.openai_base_url if is_base else self._target.scoring_uri
        return result


def scoring_node(flow: Flow) -> str | None:
    """The first node whose tool is seen to read a connection's `endpoint`, a scoring address."""
    for node, signature in flow.signatures.items():
        if any("endpoint" in parameter.keys for parameter in signature.parameters.values()):
            return node
    return None


def check_redirect(flow: Flow, target: Target) -> None:
    """Refuse a named deployment for a flow with a tool that posts to a scoring address.

    Raises:
        UsageError: such an address leads to an endpoint and cannot name a deployment.
    """
    node = scoring_node(flow)
    if target.pinned and node:
        raise UsageError(
            f"The flow's node '{node}' calls a scoring address, which leads to an endpoint and "
            f"not to the deployment '{target.model}'.",
            remedy="Compare with a model or with a whole endpoint.",
        )


def _origin(text: str) -> str:
    parts = urlsplit(text) if text.startswith(("http://", "https://")) else None
    return f"{parts.scheme}://{parts.netloc}" if parts else ""
