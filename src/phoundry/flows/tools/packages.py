"""Package tools: what installed packages offer under the entry point group `package_tools`.

A package describes its tools in YAML files, by id:

    my_tools.search.find:
      name: Find
      type: python
      module: my_tools.search
      function: find
      inputs: {connection: {type: [CustomConnection]}, query: {type: [string]}}

`describe` finds such a description without running the package's code, as checking and the choice
of connections must. `load` runs it, in the process that runs the flow.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from phoundry.errors import nearest
from phoundry.flows.document import is_list, is_mapping
from phoundry.flows.errors import PackageToolNotFound, PythonLoadError
from phoundry.flows.model import Node
from phoundry.flows.provided.package_tools import OFFERED
from phoundry.flows.signature import CONNECTION_CLASSES, Parameter, Signature
from phoundry.flows.values import VALUE_TYPES

GROUP = "package_tools"
MOST_FILES = 500  # of descriptions in one package
FORMER_NAMES = "deprecated_tools"

OWN = "promptflow.tools."
# What does what these modules of promptflow-tools did.
REPLACED = {
    "open_model_llm": "Make the node `type: llm` with a connection whose api_base is the model's "
    "OpenAI-compatible address (`type: serverless` has api_base and api_key), or serve the model "
    "here with `phoundry endpoint create` and name that endpoint as the connection.",
    "llm": "Make the node `type: llm`: it does the same.",
}
ASSISTANTS = (
    "OpenAI's Assistants are not provided. Use an llm node with `tools`, or call the service in "
    "a Python tool with its own library."
)

Description = Mapping[str, Any]


def describe(tool: str) -> Description | None:
    """The description of the tool `tool` in the packages installed here, from their YAML files."""
    for entry in entry_points(group=GROUP):
        found = _named(_written(_folder(entry)), tool)
        if found is not None:
            return found
    return _named(OFFERED, tool)


def load(tool: str | None) -> tuple[Any, Description]:
    """The module of the package tool `tool`, imported, and its description.

    Raises:
        PackageToolNotFound: no installed package offers it.
        PythonLoadError: its module does not import.
    """
    known: dict[str, Description] = dict(OFFERED)
    for entry in entry_points(group=GROUP):
        known |= _offered(entry)
    found = _named(known, str(tool))
    if found is None:
        near = nearest(str(tool), list(known))
        raise PackageToolNotFound(
            f"Package tool '{tool}' is not found in the current environment. "
            f"All available package tools are: {sorted(known)}.",
            remedy=f"Did you mean {near[0]}?" if near else _advice(str(tool)),
        )
    name = str(found.get("module"))
    try:
        return importlib.import_module(name), found
    except Exception as error:  # noqa: BLE001 - the boundary to the package's code
        raise PythonLoadError(
            f"Failed to load the module '{name}' of package tool '{tool}': "
            f"({type(error).__name__}) {error}"
        ) from None


def signature_of(description: Description) -> Signature:
    """What the tool takes, as its description says."""
    inputs: Any = description.get("inputs")
    named = inputs.items() if is_mapping(inputs) else ()
    return Signature(
        str(description.get("function")),
        {str(name): _parameter(str(name), spec) for name, spec in named},
        takes_any=True,
    )


def guessed(node: Node) -> Signature:
    """For a tool of a package that is not installed here: an input named `connection` takes one."""
    names = [name for name in node.inputs if name == "connection"]
    return Signature(
        str(node.source and node.source.tool),
        {name: Parameter(name, connections=CONNECTION_CLASSES) for name in names},
        takes_any=True,
    )


def _parameter(name: str, spec: Any) -> Parameter:
    data: dict[str, Any] = spec if is_mapping(spec) else {}
    types: Any = data.get("type") or []
    words = [str(word) for word in (types if is_list(types) else [types])]
    custom: Any = data.get("custom_type") or []
    strong = str(custom[0]) if is_list(custom) and custom else None
    connections = tuple(word for word in words if word in CONNECTION_CLASSES)
    kind = words[0] if words and words[0] in VALUE_TYPES else "object"
    default = "default" in data
    return Parameter(name, kind, default, connections, strong)


def _offered(entry: EntryPoint) -> dict[str, Description]:
    """What the function of the entry point lists; a package that fails offers nothing."""
    try:
        listed: Any = entry.load()()
    except Exception:  # noqa: BLE001 - another package's fault must not stop this flow
        return {}
    return dict(listed) if is_mapping(listed) else {}


def _named(known: Mapping[str, Description], tool: str) -> Description | None:
    if tool in known:
        return known[tool]
    return next((item for item in known.values() if tool in (item.get(FORMER_NAMES) or ())), None)


def _folder(entry: EntryPoint) -> Path | None:
    """The folder of the package of `entry`. Finding a top-level package imports nothing."""
    try:
        spec = importlib.util.find_spec(entry.module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


@cache
def _written(folder: Path | None) -> dict[str, Description]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    found: dict[str, Description] = {}
    for file in _files(folder):
        try:
            data: Any = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, YAMLError):
            continue  # not a description
        if is_mapping(data):
            found |= {key: item for key, item in data.items() if is_mapping(item)}
    return found


def _files(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield from sorted(folder.rglob("*.yaml"))[:MOST_FILES]


def not_provided(tool: str) -> PackageToolNotFound | None:
    """Why the tool `tool` of Prompt flow's own packages runs nowhere; None for one that is
    provided, and for tools of other packages, which may be where the flow runs."""
    if not tool.startswith(OWN) or describe(tool) is not None:
        return None
    near = nearest(tool, list(OFFERED)) if tool.split(".")[2] not in REPLACED else []
    return PackageToolNotFound(
        f"The tool '{tool}' of promptflow-tools is not provided.",
        remedy=f"Did you mean {near[0]}?" if near else _advice(tool),
    )


def _advice(tool: str) -> str:
    if tool.startswith(OWN):
        known = REPLACED.get(tool.split(".")[2])
        return known or (
            "It is one of promptflow-tools', which needs the promptflow packages: call the service "
            "in a Python tool of the flow, or use an llm node."
        )
    return "Install the package that has it where the flow runs, or correct `source.tool`."
