"""Connections: where a tool calls, and with which secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from phoundry.specs.base import Spec, View
from phoundry.specs.connection_types import KINDS, NO_SIGN_IN, SIGN_IN, kind_named
from phoundry.specs.endpoint import Endpoint
from phoundry.specs.names import AssetName

ConnectionType = Literal[
    "custom",
    "open_ai",
    "azure_open_ai",
    "serverless",
    "serp",
    "cognitive_search",
    "azure_ai_services",
    "azure_content_safety",
    "form_recognizer",
    "qdrant",
    "weaviate",
]
HIDDEN = "***"
ASKED = "<user-input>"  # Prompt flow's placeholder: ask, or keep the value that there is
KEPT = (ASKED, "<no-change>", HIDDEN)


class ConnectionSpec(Spec):
    """Prompt flow's YAML: `configs` in clear, `secrets` encrypted. The types besides `custom` have
    fields of their own, which `specs.connection_types` lists. A value `${env:VAR}` is taken from
    the environment of whoever runs a flow."""

    schema_: str | None = Field(default=None, alias="$schema")
    name: AssetName
    type: ConnectionType = "custom"
    configs: dict[str, str] = Field(default_factory=dict[str, str])
    secrets: dict[str, SecretStr] = Field(default_factory=dict[str, SecretStr])

    @field_validator("type", mode="before")
    @classmethod
    def _as_prompt_flow_spells_it(cls, value: object) -> object:
        return kind_named(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_its_fields(self) -> Self:
        have = self.configs.keys() | self.secrets.keys()
        if self.configs.get("auth_mode", "key").lower() in SIGN_IN:
            raise ValueError(
                f"auth_mode: {NO_SIGN_IN} Write `auth_mode: key` and the resource's key as api_key"
            )
        if missing := [name for name in KINDS[self.type].required if name not in have]:
            hint = "" if KINDS[self.type].by_key_only or "api_key" not in missing else NO_SIGN_IN
            needs = f"a connection of type {self.type} needs {', '.join(missing)}"
            raise ValueError(f"{needs}. {hint}" if hint else needs)
        return self

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
