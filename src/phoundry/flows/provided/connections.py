"""`promptflow.connections`: what a tool is handed for a parameter that takes a connection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from phoundry.flows.errors import FlowUserError, InvalidConnectionType, NodeInputValidationError
from phoundry.specs.connection_types import KINDS, REQUIRED

AZURE_VERSION = str(KINDS["azure_open_ai"].configs["api_version"])


class Connection:
    """Keys as attributes and as items: `connection.endpoint`, `connection["endpoint"]`.

    `configs` are the values in clear, `secrets` the hidden ones. `repr` and `str` show no secret.
    """

    TYPE: ClassVar[str] = "custom"

    def __init__(
        self,
        secrets: Mapping[str, str] | None = None,
        configs: Mapping[str, str] | None = None,
        name: str | None = None,
        **more: Any,
    ) -> None:
        self.name = name
        self.secrets: dict[str, str] = dict(secrets or {})
        self.configs: dict[str, str] = dict(configs or {})
        for key, value in more.items():
            bag = self.secrets if key in ("api_key", "key") else self.configs
            bag[key] = value

    @property
    def type(self) -> str:
        return self.TYPE

    def keys(self) -> list[str]:
        return [*self.configs, *self.secrets]

    def __getattr__(self, key: str) -> str:
        if key.startswith("__") or key in ("secrets", "configs"):
            raise AttributeError(key)
        try:
            return self[key]
        except KeyError:
            have = ", ".join(self.keys()) or "none"
            message = f"The connection '{self.name}' has no key '{key}'; it has {have}."
            raise AttributeError(message) from None

    def __getitem__(self, key: str) -> str:
        return self.secrets[key] if key in self.secrets else self.configs[key]

    def __contains__(self, key: object) -> bool:
        return key in self.secrets or key in self.configs

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def is_secret(self, item: str) -> bool:
        return item in self.secrets

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, keys={self.keys()})"


class CustomConnection(Connection):
    pass


class CustomStrongTypeConnection(Connection):
    """Base of users' own connection classes; filled from a custom connection."""


class _Strong(Connection):
    """Connections with known keys, given by name: `SerpConnection(api_key="…")`. An absent optional
    one is its default, not an error."""

    def __init__(
        self,
        secrets: Mapping[str, str] | None = None,
        configs: Mapping[str, str] | None = None,
        name: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(secrets, configs, name, **more)
        for key, default in KINDS[self.TYPE].configs.items():
            if default not in (None, REQUIRED):
                self.configs.setdefault(key, str(default))

    def __getattr__(self, key: str) -> Any:
        if key in KINDS[self.TYPE].configs and key not in self:
            return None
        return super().__getattr__(key)

    @classmethod
    def from_env(cls, name: str | None = None) -> Connection:
        """From the variables that OpenAI's client reads, such as OPENAI_API_KEY.

        Raises:
            RequiredEnvironmentVariablesNotSet: the variables that are missing.
        """
        return from_environment(cls, name)


class OpenAIConnection(_Strong):
    TYPE = "open_ai"


class AzureOpenAIConnection(_Strong):
    TYPE = "azure_open_ai"


class ServerlessConnection(_Strong):
    TYPE = "serverless"


class SerpConnection(_Strong):
    TYPE = "serp"


class AzureAIServicesConnection(_Strong):
    TYPE = "azure_ai_services"


class AzureContentSafetyConnection(_Strong):
    TYPE = "azure_content_safety"


class CognitiveSearchConnection(_Strong):
    TYPE = "cognitive_search"


class FormRecognizerConnection(_Strong):
    TYPE = "form_recognizer"


class QdrantConnection(_Strong):
    TYPE = "qdrant"


class WeaviateConnection(_Strong):
    TYPE = "weaviate"


ENVIRONMENT: Mapping[str, Mapping[str, str]] = {
    "open_ai": {
        "api_key": "OPENAI_API_KEY",
        "organization": "OPENAI_ORG_ID",
        "base_url": "OPENAI_BASE_URL",
    },
    "azure_open_ai": {
        "api_key": "AZURE_OPENAI_API_KEY",
        "api_base": "AZURE_OPENAI_ENDPOINT",
        "api_version": "OPENAI_API_VERSION",
    },
}


def from_environment(kind: type[Connection], name: str | None = None) -> Connection:
    """A connection from the process's environment; see `_Strong.from_env`."""
    variables = ENVIRONMENT.get(kind.TYPE, {})
    found = {key: os.environ[item] for key, item in variables.items() if os.environ.get(item)}
    needed = [key for key in KINDS[kind.TYPE].required if key not in found]
    if needed or not variables:
        names = [variables.get(key, key) for key in needed]
        raise RequiredEnvironmentVariablesNotSet(
            f"Required environment variables {names} to build {kind.__name__} not set.",
            remedy="Set them, or name a connection: phoundry connection create -f FILE",
        )
    return kind(None, None, name, **found)


class RequiredEnvironmentVariablesNotSet(FlowUserError):
    code = "RequiredEnvironmentVariablesNotSetError"


def class_for(kind: str) -> type[Connection]:
    """The class of connections of type `kind` (`custom`, `open_ai`, …); custom where unknown."""
    found = {item.TYPE: item for item in _Strong.__subclasses__()}
    return found.get(kind, CustomConnection)


def build(
    values: Mapping[str, Any],
    *,
    accepts: tuple[str, ...] = (),
    strong: type[Any] | None = None,
    where: str = "",
) -> Connection:
    """The object for one connection's `{name, type, configs, secrets}`.

    `accepts` are the class names that the parameter takes; a custom connection that has the keys
    stands in for any of them, because Phoundry's own endpoints come as custom connections.

    Raises:
        NodeInputValidationError: the connection is of another type.
        InvalidConnectionType: `strong` is not a connection class.
    """
    kind = class_for(str(values["type"]))
    if strong is not None:
        if not issubclass(strong, Connection):
            raise InvalidConnectionType(f"{strong.__name__} is not a connection class.")
        kind = strong
    elif accepts and kind.__name__ not in accepts:
        if kind is not CustomConnection:
            raise NodeInputValidationError(
                f"{where} of type '{kind.__name__}' is not supported, valid types {list(accepts)}."
            )
        kind = next(item for item in _Strong.__subclasses__() if item.__name__ == accepts[0])
    return kind(values["secrets"], values["configs"], values["name"])


def values_of(connection: Connection, name: str) -> dict[str, Any]:
    """`{name, type, configs, secrets}` of a connection that Python made."""
    return {
        "name": name,
        "type": connection.type,
        "configs": dict(connection.configs),
        "secrets": dict(connection.secrets),
    }
