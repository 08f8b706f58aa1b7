"""The JSON schema that editors check and complete files of `phoundry apply` with.

    python -m phoundry.specs.schema > src/phoundry/schemas/phoundry.schema.json

In a file: `# yaml-language-server: $schema=PATH`, with the path that `phoundry apply --schema`
prints. It allows what `apply` allows; only what needs looking around (names that exist, sums of
traffic) it cannot tell.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from pydantic.json_schema import models_json_schema

from phoundry.specs.connection_types import KINDS, STRONG_TYPE_KEYS
from phoundry.specs.documents import MODELS
from phoundry.specs.finetune.spellings import others

Schema = dict[str, Any]
# Words with other spellings, and the numbers and booleans that YAML makes of some of them.
_ALSO: dict[str, list[bool | int]] = {
    "precision": [16, 32],
    "deepspeed_stage": [2, 3],
    "gradient_checkpointing": [True, False],
    "evaluation_strategy": [False],
    "optim": [],
}
PLAIN: list[str] = ["string", "number", "boolean", "null"]


def path() -> Path:
    """Where the shipped schema is."""
    return Path(__file__).parents[1] / "schemas" / "phoundry.schema.json"


def schema() -> Schema:
    """Any one document that `apply` takes."""
    models = [(model, "validation") for model in MODELS.values()]
    names, found = models_json_schema(cast(Any, models))
    definitions: dict[str, Schema] = found["$defs"]
    _take_text(definitions["FineTuneParameters"])
    _open_connection(definitions["ConnectionSpec"])
    chosen = [names[cast(Any, key)] for key in models]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A document of phoundry apply",
        "description": "A project, or one of Azure ML's or Prompt flow's documents",
        "anyOf": chosen,
        "$defs": definitions,
    }


def _take_text(parameters: Schema) -> None:
    """Azure writes every training parameter as text: "true", "5e-4"."""
    for entry in parameters["properties"].values():
        kind = entry.pop("type", None)
        if kind == "boolean":
            entry["enum"] = [True, False, "true", "false"]
        elif kind in ("integer", "number"):
            entry["type"] = [kind, "string"]
            entry["pattern"] = r"^-?[0-9.]+([eE][-+]?[0-9]+)?$"
        elif kind is not None:
            entry["type"] = kind
    for name, values in _ALSO.items():
        entry = parameters["properties"][name]
        entry.pop("type", None)
        entry["enum"] = list(dict.fromkeys([*entry["enum"], *others(name), *values]))


def _open_connection(connection: Schema) -> None:
    """Values of any plain kind, and those that a strong-typed connection has at the top."""
    properties: dict[str, Schema] = connection["properties"]
    for name in ("configs", "secrets"):
        properties[name]["additionalProperties"] = {"type": PLAIN}
    fields = {name for kind in KINDS.values() for name in (*kind.configs, *kind.secrets)}
    for name in sorted(fields | STRONG_TYPE_KEYS.keys()):
        properties[name] = {"type": PLAIN}
    # Else a type's own field, such as `auth_mode`, would let an endpoint's document pass for one.
    connection["anyOf"] = [{"required": [key]} for key in ("type", "configs", "secrets", "$schema")]


def text() -> str:
    return json.dumps(schema(), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
