"""`${env:VAR}` and `${file:path}` in a prompty's front matter, and its sample."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from phoundry.flows.document import is_list, is_mapping, read_document
from phoundry.flows.prompty.errors import InvalidSampleError, PromptyFormatError

_REFERENCE = re.compile(r"^\$\{(?P<kind>env|file):(?P<name>[^}]*)\}$")


def resolve(value: Any, folder: Path) -> Any:
    """`value` with every reference in it replaced, at any depth. A variable that is not set stays
    as it is written, for the message of what can't use it.

    Raises:
        PromptyFormatError: a file that is not there or can't be read.
    """
    if is_mapping(value):
        return {key: resolve(item, folder) for key, item in value.items()}
    if is_list(value):
        return [resolve(item, folder) for item in value]
    found = _REFERENCE.match(value) if isinstance(value, str) else None
    if found is None:
        return value
    if found["kind"] == "env":
        return os.environ.get(found["name"], value)
    return _content(folder / found["name"], found["name"])


def unset_variables(value: Any) -> list[str]:
    """Names of the variables that `resolve` left in `value`."""
    if is_mapping(value):
        return [name for item in value.values() for name in unset_variables(item)]
    found = _REFERENCE.match(value) if isinstance(value, str) else None
    return [found["name"]] if found and found["kind"] == "env" else []


def read_sample(sample: Any, folder: Path) -> dict[str, Any]:
    """The inputs of a sample: written in place, or in a JSON file that is named.

    Raises:
        InvalidSampleError: neither, or there is no such file.
        PromptyFormatError: the file does not hold what its name says.
    """
    if not sample:
        return {}
    found: Any = resolve(sample, folder)
    if isinstance(found, str) and found.endswith(".json"):
        path = folder / found.removeprefix("file:")
        if not path.is_file():
            raise InvalidSampleError(f"Cannot find sample file {path}.")
        found = _content(path, path.name)
    if not is_mapping(found):
        raise InvalidSampleError(
            "Only dict and json file are supported as sample in prompty.",
            remedy="Write `sample:` with `name: value` lines below, or `sample: inputs.json`.",
        )
    # Older prompties have the inputs one level down.
    inner: Any = found.get("inputs")
    return inner if is_mapping(inner) and len(found) == 1 else found


def _content(path: Path, name: str) -> Any:
    """A JSON or YAML file's value, any other file's text."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PromptyFormatError(f"Cannot find the reference file {name}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PromptyFormatError(f"The reference file {name} can't be read: {error}.") from None
    if path.suffix.lower() == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise PromptyFormatError(f"The reference file {name} is not JSON: {error}.") from None
    return read_document(path).data if path.suffix.lower() in (".yml", ".yaml") else text
