"""The JSON schema that editors check and complete `flow.dag.yaml` with.

    python -m phoundry.flows.schema > src/phoundry/schemas/flow.dag.schema.json

In a flow's file: `# yaml-language-server: $schema=PATH`. Of Prompt flow's own keys it checks what
Prompt flow does and lets unknown ones pass; of the added keys it allows what the loader allows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from phoundry.flows.extensions.conditions import GROUPS, OPERATORS
from phoundry.flows.extensions.read import MOST_AT_ONCE
from phoundry.flows.inspection import SOURCE_TYPES
from phoundry.flows.model import NODE_TYPES
from phoundry.flows.values import VALUE_TYPES

Schema = dict[str, Any]
# Any value may come from the environment, and is text in the file then.
VARIABLE: Schema = {"type": "string", "pattern": r"\$\{env:[A-Za-z_][A-Za-z0-9_]*(:-[^{}]*)?\}"}
NAMES: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
FLAG: Schema = {"type": ["boolean", "null"]}
TEXT: Schema = {"type": ["string", "null"]}


def path() -> Path:
    """Where the shipped schema is."""
    return Path(__file__).parents[1] / "schemas" / "flow.dag.schema.json"


def schema() -> Schema:
    """Any `flow.dag.yaml`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A DAG flow: flow.dag.yaml",
        "type": "object",
        "properties": {
            "inputs": _table(_value("default", {}, "is_chat_input", "is_chat_history")),
            "outputs": _table(_value("reference", {}, "is_chat_output", "evaluation_only")),
            "nodes": {"type": ["array", "null"], "items": {"$ref": "#/$defs/node"}},
            "node_variants": {"type": ["object", "null"]},
            "environment_variables": {"type": ["object", "null"]},
            "additional_includes": {"type": ["array", "null"], "items": {"type": "string"}},
            "environment": {"type": ["object", "null"]},
        },
        "$defs": {"node": _node(), "condition": _condition(), **_added()},
    }


def _table(items: Schema) -> Schema:
    return {"type": ["object", "null"], "additionalProperties": items}


def _value(key: str, held: Schema, *flags: str) -> Schema:
    """An input or an output of the flow."""
    return {
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"anyOf": [{"enum": list(VALUE_TYPES)}, VARIABLE]},
            "description": TEXT,
            key: held,
            **dict.fromkeys(flags, FLAG),
        },
    }


def _node() -> Schema:
    added = {name: {"$ref": f"#/$defs/{name}"} for name in _added()}
    return {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": ["string", "number", "boolean"]},
            "type": {"anyOf": [{"enum": [*NODE_TYPES, None]}, VARIABLE]},
            "source": {
                "type": ["object", "null"],
                "required": ["type"],
                "properties": {
                    "type": {"anyOf": [{"enum": list(SOURCE_TYPES)}, VARIABLE]},
                    "path": TEXT | {"description": "A file in the flow's folder or an include"},
                    "tool": TEXT | {"description": "module.function of a package tool"},
                },
            },
            "inputs": {
                "type": ["object", "null"],
                "description": "Literals, ${inputs.x}, ${node.output.key}, ${env:VARIABLE}",
            },
            "connection": TEXT,
            "api": {"enum": ["chat", "completion", None]},
            "aggregation": FLAG,
            "use_variants": FLAG,
            "enable_cache": FLAG | {"description": "Prompt flow ignores it; see `cache`"},
            "activate": {"$ref": "#/$defs/condition"},
            **added,
        },
    }


def _added() -> dict[str, Schema]:
    """The keys of a node that Prompt flow does not have."""
    return {
        "retry": _either(
            {"type": "integer", "minimum": 1},
            _fields(
                "Try a failed node again",
                max_attempts=_number(1, "integer"),
                delay=_number(0),
                backoff=_number(1),
                jitter=_number(0),
                on=NAMES,
            ),
        ),
        "timeout": {
            "description": "Seconds for one attempt",
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, VARIABLE, {"type": "null"}],
        },
        "on_error": _either(
            _fields("The output when the node fails", value={}) | {"required": ["value"]},
            _fields("The node whose output it is then", node={"type": "string"})
            | {"required": ["node"]},
        ),
        "cache": _either(
            {"type": "boolean"},
            _fields("Keep what the node gave for the same inputs", key=NAMES, ttl=_number(0)),
        ),
        "foreach": _either(
            {"type": "string"},
            _fields(
                "Run once for each item of a list",
                over={"type": ["string", "array"]},
                concurrency=_number(1, "integer", maximum=MOST_AT_ONCE),
                on_error={"enum": ["fail", "skip", "null", None]},
                **{"as": {"type": "string", "pattern": "^[^0-9\\W]\\w*$"}},
            )
            | {"required": ["over"]},
        ),
    }


def _condition() -> Schema:
    """One comparison, or one group of conditions."""
    nested = {"$ref": "#/$defs/condition"}
    several: Schema = {"type": "array", "minItems": 1, "items": nested}
    groups = [
        _fields(f"{name} of", **{name: nested if name == "not" else several}) | {"required": [name]}
        for name in GROUPS
    ]
    anything: Schema = {}
    comparisons = [
        _fields(f"`when` {name.replace('_', ' ')}", **{"when": anything, name: anything})
        | {"required": ["when", name]}
        for name in OPERATORS
    ]
    return {"anyOf": [{"type": "null"}, *groups, *comparisons]}


def _either(*kinds: Schema) -> Schema:
    return {"anyOf": [*kinds, {"type": "null"}]}


def _fields(description: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": False,
    }


def _number(least: float, kind: str = "number", **more: Any) -> Schema:
    return {"anyOf": [{"type": kind, "minimum": least, **more}, VARIABLE]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=2, ensure_ascii=False) + "\n")
