"""`GET /v1/models`: what a key opens, under the names that `model` takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from phoundry.serving.gateway.routing import Router


def list_models(router: Router, endpoints: Iterable[str]) -> dict[str, Any]:
    """OpenAI's list: each endpoint, then each of its deployments as ENDPOINT/DEPLOYMENT."""
    names: list[str] = []
    for name in sorted(endpoints):
        names.append(name)
        names += [f"{name}/{deployment}" for deployment in router.endpoints[name].deployments]
    data = [{"id": n, "object": "model", "created": 0, "owned_by": "phoundry"} for n in names]
    return {"object": "list", "data": data}
