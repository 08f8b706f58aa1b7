"""Importing the entry of a flex flow, and making its class with connections in place of names."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from phoundry.flows.errors import FlowError, PythonLoadError
from phoundry.flows.flex.definition import FlexFlow
from phoundry.flows.flex.errors import FlowEntryInitializationError, UnwrappedError
from phoundry.flows.model import Flow
from phoundry.flows.prepare import Connections
from phoundry.flows.signature import CONNECTION_CLASSES
from phoundry.flows.tools.python import tool_failed


def load_entry(
    flow: Flow, connections: Connections, init: Mapping[str, Any] | None
) -> tuple[Callable[..., Any], Any]:
    """What a line calls, and the object that it is a method of (None for a function).

    Raises:
        PythonLoadError: importing failed, or there is no such function.
        UnwrappedError: a class without `__call__`.
        FlowEntryInitializationError: the class could not be made.
    """
    definition: FlexFlow = flow.definition
    entry = getattr(_import(flow, definition.module), definition.name, None)
    if inspect.isclass(entry):
        if not any("__call__" in vars(item) for item in entry.__mro__):
            raise UnwrappedError(
                f"Python class entry '{definition.name}' does not have __call__ method.",
                kind="AttributeError",
                remedy="Give the class a method `__call__`, which answers one line.",
            )
        made = _make(definition, entry, connections, init)
        return made.__call__, made
    if not inspect.isfunction(entry):
        raise PythonLoadError(
            f"Failed to load python function '{definition.name}' from file "
            f"'{definition.module}', got {entry}.",
            where=flow.file.name,
        )
    return entry, None


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Those that can be given by name."""
    return {
        name: item
        for name, item in inspect.signature(function).parameters.items()
        if item.kind not in (item.VAR_KEYWORD, item.VAR_POSITIONAL)
    }


def _import(flow: Flow, module: str) -> ModuleType:
    file = flow.root.joinpath(*module.split(".")).with_suffix(".py")
    loaded = sys.modules.get(module)
    if loaded is not None and file.is_file() and getattr(loaded, "__file__", None) != str(file):
        # Another flow's module of the same name: this one is asked for by its place.
        for name in [key for key in sys.modules if key.partition(".")[0] == module.split(".")[0]]:
            del sys.modules[name]
    importlib.invalidate_caches()  # the file may be younger than the listing of its folder
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary to the user's code
        raise PythonLoadError(
            f"Failed to load python module for {flow.file.name}: ({type(error).__name__}) {error}",
            details=tool_failed(module, error).details,
            remedy=None if file.is_file() else f"There is no {file.name} in {file.parent}.",
        ) from None


def _make(
    definition: FlexFlow,
    entry: type[Any],
    connections: Connections,
    init: Mapping[str, Any] | None,
) -> Any:
    given = dict(init or definition.sample_init)
    for name, item in definition.init.items():
        if name not in given and item.default not in (None, ""):
            given[name] = item.default
    try:
        return entry(**_resolved(definition, entry, connections, given))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary to the user's code
        names = ", ".join(given) or "no arguments"
        raise FlowEntryInitializationError(
            f"Failed to initialize flow entry '{definition.name}' with {names}: "
            f"({type(error).__name__}) {error}",
            remedy=None if given else "Give its arguments with --init name=value or FILE.json.",
            details=None if isinstance(error, FlowError) else tool_failed("init", error).details,
        ) from None


def _resolved(
    definition: FlexFlow, entry: type[Any], connections: Connections, given: Mapping[str, Any]
) -> dict[str, Any]:
    """`given` with connections for their names and model configurations for mappings, where the
    class's annotations, or the flow's file, ask for them."""
    from phoundry.flows.provided.model_configuration import CONFIGURATIONS, configured

    found = dict(given)
    for name, item in parameters(entry).items():
        wanted = _class_name(item.annotation)
        if wanted not in (*CONNECTION_CLASSES, *CONFIGURATIONS):
            declared = definition.init.get(name)
            wanted = declared.type if declared else wanted
        if wanted in CONFIGURATIONS and name in given:
            found[name] = configured(wanted, given[name])
        elif wanted in CONNECTION_CLASSES and isinstance(given.get(name), str):
            from phoundry.flows.provided.connections import build

            values = connections.get("init", name, str(given[name]))
            found[name] = build(values, accepts=(wanted,), where=f"Argument '{name}'")
    return found


def _class_name(annotation: Any) -> str:
    """`CustomConnection` of the class, of its quoted name, and of `mod.CustomConnection`."""
    if isinstance(annotation, str):
        return annotation.strip("'\" ").rpartition(".")[2]
    return getattr(annotation, "__name__", "")
