"""Whom a request is for: the endpoint of its path, the endpoint or deployment of its `model`."""

from __future__ import annotations

import re

from phoundry.errors import NotFound
from phoundry.serving.asgi import parse_object
from phoundry.serving.errors import bad_parameter
from phoundry.serving.gateway.routing import Endpoint, Router

_UNDER = "/endpoints/"
# Where a body begins with its model, nothing else need be read here: the replica reads it all.
_MODEL_FIRST = re.compile(rb'\s*\{\s*"model"\s*:\s*"([A-Za-z0-9/-]{1,200})"\s*[,}]')


def split(path: str) -> tuple[str | None, str]:
    """`('faq', '/score')` from `/endpoints/faq/score`; no name in other paths."""
    if not path.startswith(_UNDER):
        return None, path
    name, slash, rest = path[len(_UNDER) :].partition("/")
    return name, slash + rest


def model_of(body: bytes) -> object:
    """What the body of an OpenAI request says under `model`.

    Raises:
        InvalidInput: it is no JSON object.
    """
    first = _MODEL_FIRST.match(body)
    return first[1].decode() if first else parse_object(body).get("model")


def named(
    router: Router, model: object, endpoint: Endpoint | None, opened: frozenset[str]
) -> tuple[Endpoint, str | None]:
    """The endpoint, and the deployment if there is one, that `model` names.

    `endpoint`: that of the path, where it has one.

    Raises:
        InvalidInput: it must name one and does not.
        NotFound: the caller's key opens none of that name, or it is not that of the path.
    """
    if model is None and endpoint is not None:
        return endpoint, None
    if not isinstance(model, str) or not model:
        raise bad_parameter("model", "must name an endpoint, or ENDPOINT/DEPLOYMENT.")
    name, _, deployment = model.partition("/")
    if endpoint is not None and name != endpoint.name:
        raise NotFound(
            f"The model '{model[:100]}' is not of the endpoint '{endpoint.name}'.",
            remedy=f"Use '{endpoint.name}', or '{endpoint.name}/DEPLOYMENT'.",
        )
    return endpoint or router.endpoint(name, opened), deployment or None
