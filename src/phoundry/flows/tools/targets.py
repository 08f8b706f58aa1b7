"""From a connection's values to the server that is called, for every type that models are called
by: OpenAI and what speaks like it, Azure OpenAI, serverless endpoints, Phoundry's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from phoundry.flows.errors import InvalidConnectionType
from phoundry.flows.provided.connections import AZURE_VERSION, class_for
from phoundry.flows.tools.http import Target
from phoundry.specs.connection_types import NO_SIGN_IN

OPENAI = "https://api.openai.com/v1"
CALLED_PATHS = ("/chat/completions", "/completions", "/embeddings")
# Types that hold a key for something else than a model.
CALLABLE = ("custom", "open_ai", "azure_open_ai", "serverless")


def target_of(values: Mapping[str, Any], model: str | None, place: str) -> Target:
    """Where and how the model of `place` (`node 'ask'`) is called.

    `values` are a connection's `{name, type, configs, secrets}`; `model` is a model's name, an
    Azure deployment's, or None to take the connection's own.

    Raises:
        InvalidConnectionType: no address, no key, no model, or a connection of another kind.
    """
    keys: dict[str, Any] = {**values["configs"], **values["secrets"]}
    kind, name = class_for(str(values["type"])).TYPE, str(values["name"])
    if kind not in CALLABLE:
        raise InvalidConnectionType(
            f"The connection '{name}' is of type {kind}, which calls no model for {place}.",
            remedy=f"Use one of type {', '.join(CALLABLE)}.",
        )
    base = keys.get("api_base") or keys.get("base_url") or keys.get("azure_endpoint")
    if not base and kind == "open_ai":
        base = OPENAI
    key = keys.get("api_key") or keys.get("key")
    if not base or not key:
        hint = f" {NO_SIGN_IN}" if base and kind == "azure_open_ai" else ""
        raise InvalidConnectionType(
            f"The connection '{name}' can't call a model for {place}: it has no "
            f"{'api_base' if not base else 'key'}.",
            remedy=f"It needs api_base (such as http://127.0.0.1:7411/v1) and key.{hint}",
        )
    key = _header(str(key), name, place)
    _check_address(str(base), name, place)
    model = model or keys.get("model")
    if not model and kind != "serverless":  # a serverless endpoint has one model only
        raise InvalidConnectionType(
            f"{place[:1].upper()}{place[1:]} names no model, and neither does the connection "
            f"'{name}'.",
            remedy="Give the node the input `model`, or the connection the config `model`.",
        )
    if kind == "azure_open_ai":
        version = str(keys.get("api_version") or AZURE_VERSION)
        url = f"{_base(str(base))}/openai/deployments/{model}"
        return Target(url, {"api-key": key}, str(model), {"api-version": version})
    headers = {"Authorization": f"Bearer {key}"}
    if organization := keys.get("organization"):
        headers["OpenAI-Organization"] = str(organization)
    return Target(_versioned(str(base), kind), headers, str(model or ""))


def _header(key: str, name: str, place: str) -> str:
    """`key` without the line break that a file's last line has. What can't be sent is not shown:
    the message of an HTTP library would."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise InvalidConnectionType(
            f"The key of the connection '{name}' can't be sent for {place}: it holds characters "
            "that no HTTP header has.",
            remedy="Copy it again, without quotes, blanks or line breaks.",
        )
    return key


def _check_address(address: str, name: str, place: str) -> None:
    try:
        urlsplit(address)
    except ValueError as error:
        raise InvalidConnectionType(
            f"The connection '{name}' can't call a model for {place}: its api_base {address!r} is "
            f"no address: {error}.",
            remedy="It is such as http://127.0.0.1:7411/v1.",
        ) from None


def _base(address: str) -> str:
    """Without the path of a call, which many copy along with the address."""
    address = address.rstrip("/")
    for path in CALLED_PATHS:
        if address.endswith(path):
            return address.removesuffix(path)
    return address


def _versioned(address: str, kind: str) -> str:
    """A serverless endpoint's address comes with `/v1`, without it, or as that of its calls."""
    base = _base(address)
    plain = base == address.rstrip("/") and not base.endswith("/v1")
    return f"{base}/v1" if kind == "serverless" and plain else base
