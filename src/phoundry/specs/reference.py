"""Writes the reference of YAML files: `python -m phoundry.specs.reference`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.documents import DataDocument, ModelDocument
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.finetune import FineTuneParameters
from phoundry.specs.job import FineTuningJobSpec
from phoundry.specs.project import Project

PAGES: dict[str, type[BaseModel]] = {
    "Project": Project,
    "Training parameters": FineTuneParameters,
    "Data asset": DataDocument,
    "Fine-tuning job": FineTuningJobSpec,
    "Model": ModelDocument,
    "Endpoint": EndpointSpec,
    "Deployment": DeploymentSpec,
    "Connection": ConnectionSpec,
}
# Not spelt out again within another file.
_PAGED = {kind.__name__ for kind in PAGES.values()}
INTRODUCTION = """# Files

Written by `python -m phoundry.specs.reference > docs/reference/files.md`; a test compares.

Every key of every YAML file, with its type and default. A key that is not listed is a fault, and so
is a value out of its range: all of them are told at once, with file and line.
"""


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for title, kind in PAGES.items():
        schema = kind.model_json_schema(by_alias=True)
        parts.append(f"## {title}\n")
        if text := first_paragraph(kind):
            parts.append(text + "\n")
        parts.append("\n".join(_table(schema, schema.get("$defs", {}))) + "\n")
    return "\n".join(parts)


def first_paragraph(kind: type[BaseModel]) -> str:
    """What a spec's docstring says first; pydantic's own is left out."""
    text = kind.__dict__.get("__doc__") or ""
    return " ".join(text.strip().partition("\n\n")[0].split())


def _table(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    yield "| key | type | default | |"
    yield "|---|---|---|---|"
    yield from _rows(schema, definitions, "")


def _rows(schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> Iterator[str]:
    required = schema.get("required", [])
    for name, found in schema.get("properties", {}).items():
        default = "required" if name in required else _default(found.get("default"))
        cells = [f"`{prefix}{name}`", _type(found, definitions), default]
        cells.append(_meaning(found, definitions).replace("|", "\\|").replace("\n", " "))
        yield f"| {' | '.join(cells)} |"
        inner = _object(found, definitions)
        if inner and inner.get("title") not in _PAGED:
            yield from _rows(inner, definitions, f"{prefix}{name}.")


def _meaning(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What the key is for; of an object with a section of its own, where that is."""
    inner = _object(schema, definitions) or {}
    for title, kind in PAGES.items():
        if inner.get("title") == kind.__name__:
            return f"See *{title}*"
    return str(schema.get("description", ""))


def _object(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The object with keys of its own that a value may be."""
    for choice in [schema, *schema.get("anyOf", []), *schema.get("allOf", [])]:
        target = _followed(choice, definitions)
        if "properties" in target:
            return target
    return None


def _type(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    choices = schema.get("anyOf") or schema.get("allOf") or [schema]
    names = [_one_type(_followed(each, definitions), definitions) for each in choices]
    return " or ".join(dict.fromkeys(name for name in names if name != "null"))


def _one_type(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), definitions) or 'values'}"
    words = {"string": "text", "integer": "whole number", "boolean": "true, false"}
    name = words.get(str(schema.get("type")), str(schema.get("type", "any")))
    limits = [
        f"{sign} {schema[key]:g}"
        for key, sign in _LIMITS.items()
        if isinstance(schema.get(key), int | float)
    ]
    return name + (f" {', '.join(limits)}" if limits else "")


_LIMITS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}


def _followed(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return definitions[name] if name else schema


def _default(value: Any) -> str:
    if value is None or value in ({}, [], ""):
        return ""
    if isinstance(value, dict):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
