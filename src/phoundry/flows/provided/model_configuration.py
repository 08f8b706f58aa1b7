"""`promptflow.core`'s model configurations: which model a class or a prompty calls, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from phoundry.flows.document import is_mapping
from phoundry.flows.errors import FlowUserError, FlowValidationError
from phoundry.flows.provided.at_hand import connection_values
from phoundry.flows.provided.connections import Connection, build


class InvalidModelConfigValueType(FlowValidationError):
    code = "InvalidModelConfigValueType"


class InvalidConnectionError(FlowUserError):
    code = "InvalidConnectionError"


class ModelConfiguration:
    """Base of both. `type_of_connection` says how the server is spoken to: an Azure configuration
    that was filled from a Phoundry endpoint's connection speaks to it as to OpenAI."""

    TYPE = ""
    connection: str | None
    type_of_connection: str

    def __post_init__(self) -> None:
        given = any(
            getattr(self, item.name)
            for item in fields(self)  # type: ignore[arg-type]
            if item.name not in ("connection", "type_of_connection", "model", "azure_deployment")
        )
        if given and self.connection:
            raise InvalidConnectionError(
                "Cannot configure model config and connection at the same time.",
                remedy="Name the connection alone, or leave it out.",
            )
        self.type_of_connection = self.TYPE


@dataclass
class AzureOpenAIModelConfiguration(ModelConfiguration):
    TYPE = "azure_open_ai"

    azure_deployment: str
    azure_endpoint: str | None = None
    api_version: str | None = None
    api_key: str | None = field(default=None, repr=False)
    connection: str | None = None
    type_of_connection: str = field(default="", init=False, repr=False, compare=False)

    @classmethod
    def from_connection(cls, connection: Connection, azure_deployment: str) -> Self:
        found = cls(
            azure_deployment,
            _first(connection, "api_base", "base_url"),
            _first(connection, "api_version"),
            _first(connection, "api_key", "key"),
        )
        found.type_of_connection = connection.type
        return found


@dataclass
class OpenAIModelConfiguration(ModelConfiguration):
    TYPE = "open_ai"

    model: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    organization: str | None = None
    connection: str | None = None
    type_of_connection: str = field(default="", init=False, repr=False, compare=False)

    @classmethod
    def from_connection(cls, connection: Connection, model: str) -> Self:
        found = cls(
            model,
            _first(connection, "base_url", "api_base"),
            _first(connection, "api_key", "key"),
            _first(connection, "organization"),
        )
        found.type_of_connection = connection.type
        return found


CONFIGURATIONS: Mapping[str, type[AzureOpenAIModelConfiguration | OpenAIModelConfiguration]] = {
    "AzureOpenAIModelConfiguration": AzureOpenAIModelConfiguration,
    "OpenAIModelConfiguration": OpenAIModelConfiguration,
}


def configured(class_name: str, value: Any) -> ModelConfiguration:
    """A configuration of `class_name` from a mapping or from itself, a connection's name resolved.

    Raises:
        InvalidModelConfigValueType: `value` is something else.
        InvalidConnectionError: it holds a connection and values of its own.
        GetConnectionError: the connection is not at hand.
        TypeError: the mapping has keys that the configuration has not.
    """
    kind = CONFIGURATIONS[class_name]
    found: Any = kind(**value) if is_mapping(value) else value
    if not isinstance(found, kind):
        raise InvalidModelConfigValueType(
            f"Model config value is not an instance of {class_name}, got {type(value).__name__}.",
            remedy="Write a mapping: {connection: NAME, "
            + ("azure_deployment: …}." if kind is AzureOpenAIModelConfiguration else "model: …}."),
        )
    if not found.connection:
        return found
    connection = build(connection_values(found.connection))
    if isinstance(found, AzureOpenAIModelConfiguration):
        return AzureOpenAIModelConfiguration.from_connection(connection, found.azure_deployment)
    return OpenAIModelConfiguration.from_connection(connection, found.model)


def _first(connection: Connection, *keys: str) -> str | None:
    return next((connection[key] for key in keys if connection.get(key)), None)
