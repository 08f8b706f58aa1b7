"""The `model` of a prompty: which server is called, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phoundry.flows.document import is_mapping
from phoundry.flows.errors import FlowDefinitionError, GetConnectionError
from phoundry.flows.prompty.errors import NoModel, UnknownConnectionType
from phoundry.flows.prompty.references import resolve, unset_variables
from phoundry.flows.provided.at_hand import connection_values
from phoundry.flows.provided.connections import (
    Connection,
    class_for,
    from_environment,
    values_of,
)
from phoundry.flows.provided.model_configuration import (
    InvalidConnectionError,
    ModelConfiguration,
)
from phoundry.flows.tools.http import Target
from phoundry.flows.tools.targets import target_of
from phoundry.specs.connection_types import KINDS, kind_named

OWN_KEYS = ("type", "connection", "model", "azure_deployment")
TYPES = {"azure_openai": "azure_open_ai", "openai": "open_ai"}


@dataclass(frozen=True, slots=True)
class Model:
    """`configuration` is as written, or one of the model configuration classes."""

    api: str
    configuration: Any
    parameters: Mapping[str, Any]
    response: str = "first"


def merged(settings: Any, over: Any) -> Any:
    """`settings` with those of `over` in their place, mapping by mapping."""
    if not (is_mapping(settings) and is_mapping(over)):
        return over
    return {**settings, **{key: merged(settings.get(key), item) for key, item in over.items()}}


def read_model(settings: Any, folder: Path) -> Model:
    """The model that `settings`, the section `model`, describe.

    Raises:
        NoModel: no configuration.
        FlowDefinitionError: an `api` that is none.
        InvalidConnectionError: a connection beside an address or key of its own.
    """
    data: Any = resolve(settings or {}, folder)
    configuration = data.get("configuration")
    if not isinstance(configuration, ModelConfiguration) and not is_mapping(configuration):
        raise NoModel(
            "The prompty says of no model how it is called.",
            remedy="Write `model: {api: chat, configuration: {connection: NAME, model: …}}`.",
        )
    api = data.get("api") or "chat"
    if api not in ("chat", "completion"):
        raise FlowDefinitionError(
            f"The prompty has `api: {api}`.", remedy="Write `api: chat` or `completion`."
        )
    if is_mapping(configuration) and configuration.get("connection"):
        own = [name for name, item in configuration.items() if name not in OWN_KEYS and item]
        if own:
            raise InvalidConnectionError(
                "Cannot configure model config and connection in configuration at the same time: "
                f"it has connection and {', '.join(own)}.",
                remedy="Name the connection alone, or leave it out.",
            )
    parameters: Any = data.get("parameters") or {}
    return Model(api, configuration, parameters, str(data.get("response") or "first"))


def find_target(model: Model, place: str) -> Target:
    """The server of `model`, which `place` calls.

    Raises:
        GetConnectionError: its connection, or a variable that it is made from, is not there.
        UnknownConnectionType: `type` is neither azure_openai nor openai.
        InvalidConnectionType: the connection lacks what a call needs.
    """
    if isinstance(model.configuration, ModelConfiguration):
        return _of_object(model.configuration, place)
    configuration: dict[str, Any] = model.configuration
    name = configuration.get("azure_deployment") or configuration.get("model")
    connection: Any = configuration.get("connection")
    if isinstance(connection, Connection):
        return target_of(values_of(connection, connection.name or "its own"), name, place)
    if connection:
        return target_of(connection_values(str(connection)), name, place)
    kind = _kind(configuration.get("type"))
    own = {key: item for key, item in configuration.items() if key not in OWN_KEYS and item}
    if unset := unset_variables(own):
        raise GetConnectionError(
            f"The configuration of {place} takes {', '.join(unset)} from the environment, where "
            "it is not set.",
            remedy=f"Set it, or add --environment-variables {unset[0]}=VALUE.",
        )
    if not own:
        return target_of(values_of(from_environment(class_for(kind)), "its own"), name, place)
    return target_of(_written(kind, own), name, place)


def _of_object(found: Any, place: str) -> Target:
    name = getattr(found, "azure_deployment", None) or getattr(found, "model", None)
    if found.connection:
        return target_of(connection_values(found.connection), name, place)
    keys = ("azure_endpoint", "base_url", "api_version", "api_key", "organization")
    own = {key: resolve(getattr(found, key, None), Path()) for key in keys}
    own = {key: item for key, item in own.items() if item}
    if not own:
        return target_of(values_of(from_environment(class_for(found.TYPE)), "its own"), name, place)
    return target_of(_written(found.type_of_connection, own), name, place)


def _kind(written: Any) -> str:
    kind = TYPES.get(str(written), kind_named(str(written)))
    if kind not in KINDS:
        raise UnknownConnectionType(
            f"Not Support connection type {written} for a prompty.",
            remedy="Write `type: azure_openai` or `type: openai`, or name a `connection`.",
        )
    return kind


def _written(kind: str, own: Mapping[str, Any]) -> dict[str, Any]:
    keys = dict(own)
    base = keys.pop("azure_endpoint", None)
    if base:
        keys.setdefault("api_base", base)
    secrets = {key: keys.pop(key) for key in ("api_key", "key") if key in keys}
    return {"name": "its own", "type": kind, "configs": keys, "secrets": secrets}
