"""Writes the reference of the API: `python -m phoundry.server.reference`."""

from __future__ import annotations

import sys
from typing import Any

from fastapi import FastAPI

from phoundry.server.routers import ROUTERS

INTRODUCTION = """# HTTP API

Written by `python -m phoundry.server.reference > docs/reference/api.md`; a test compares.

What the command line and `phoundry.Client` do goes through this API of the control plane, on
loopback. Its address and token are in `server.json` in the home (mode 0600); every call but
`/healthz` carries `Authorization: Bearer TOKEN`. An error is
`{"error": {"code", "message", "remedy"?, "faults"?}}`.

The endpoints' own API is another: `POST /ENDPOINT/score` as Azure has it, and OpenAI's under `/v1`,
both at the gateway's address. `phoundry endpoint show NAME` prints them.
"""


def reference() -> str:
    """The whole page: a table for each noun."""
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router, prefix="/api")
    nouns: dict[str, list[str]] = {}
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            noun = operation.get("tags", ["other"])[0]
            nouns.setdefault(noun, []).append(_row(path, method, operation))
    parts = [INTRODUCTION]
    for noun in sorted(nouns):
        parts.append(f"## {noun}\n\n| | query | body | answer |\n|---|---|---|---|")
        parts[-1] += "\n" + "\n".join(nouns[noun]) + "\n"
    return "\n".join(parts)


def _row(path: str, method: str, operation: dict[str, Any]) -> str:
    query = [
        f"`{each['name']}`" + ("" if each.get("required") else "?")
        for each in operation.get("parameters", [])
        if each["in"] == "query"
    ]
    body = _named(operation.get("requestBody", {}))
    good = next(answer for status, answer in operation["responses"].items() if status < "300")
    cells = [f"`{method.upper()} {path}`", ", ".join(query), body, _named(good)]
    return f"| {' | '.join(cells)} |"


def _named(part: dict[str, Any]) -> str:
    """What a body or an answer holds: the name of a spec, a list of them, or its media type."""
    for media, content in part.get("content", {}).items():
        schema = content.get("schema", {})
        items = schema.get("items", {}) if schema.get("type") == "array" else None
        name = (schema if items is None else items).get("$ref", "").rpartition("/")[2]
        if name:
            return f"list of {name}" if items is not None else name
        return "JSON" if media == "application/json" else media
    return ""


if __name__ == "__main__":
    sys.stdout.write(reference())
