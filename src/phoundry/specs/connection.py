"""Connections: where a tool calls, and with which secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, SecretStr

from phoundry.specs.base import Spec, View
from phoundry.specs.endpoint import Endpoint
from phoundry.specs.names import AssetName

ConnectionType = Literal["custom", "open_ai"]
HIDDEN = "***"
ASKED = "<user-input>"  # Prompt flow's placeholder: ask, or keep the value that there is
KEPT = (ASKED, "<no-change>", HIDDEN)


class ConnectionSpec(Spec):
    """Prompt flow's YAML for a custom connection: `configs` in clear, `secrets` encrypted."""

    schema_: str | None = Field(default=None, alias="$schema")
    name: AssetName
    type: ConnectionType = "custom"
    configs: dict[str, str] = Field(default_factory=dict[str, str])
    secrets: dict[str, SecretStr] = Field(default_factory=dict[str, SecretStr])

    @classmethod
    def to_endpoint(cls, name: str, endpoint: Endpoint, key: str) -> ConnectionSpec:
        """What a flow needs to call `endpoint`, in the shape of Microsoft's tutorial: the scoring
        address and the key as secrets `endpoint` and `key`; `api_base` and `model` for llm nodes.
        """
        return cls(
            name=name,
            configs={"api_base": endpoint.openai_base_url, "model": endpoint.name},
            secrets={"endpoint": SecretStr(endpoint.scoring_uri), "key": SecretStr(key)},
        )


class Connection(View):
    """What is shown: every secret value is `***`."""

    name: str
    type: ConnectionType
    configs: dict[str, str] = Field(default_factory=dict[str, str])
    secrets: dict[str, str] = Field(default_factory=dict[str, str])
    created_at: datetime
    updated_at: datetime


class ConnectionValues(View):
    """The values that a flow needs while it runs. Never printed, logged or stored."""

    name: str
    type: ConnectionType
    configs: dict[str, str] = Field(default_factory=dict[str, str])
    secrets: dict[str, str] = Field(default_factory=dict[str, str], repr=False)
