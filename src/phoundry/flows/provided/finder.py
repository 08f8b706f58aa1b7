"""The finder that answers `import promptflow…` from the table below."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from phoundry.flows.signature import CONNECTION_CLASSES, STRONG_TYPE_BASE

ROOT = "promptflow"
_HERE = "phoundry.flows.provided."
_CORE: dict[str, str] = dict.fromkeys(
    ("tool", "ToolProvider", "log_metric", "log_flow_metric"), "core"
)
_CONNECTIONS: dict[str, str] = dict.fromkeys((*CONNECTION_CLASSES, STRONG_TYPE_BASE), "connections")
_TRACING: dict[str, str] = dict.fromkeys(
    ("trace", "start_trace", "ThreadPoolExecutorWithContext"), "tracing"
)
_TYPES: dict[str, str] = dict.fromkeys(
    ("Secret", "PromptTemplate", "FilePath", "AssistantDefinition"), "types"
)

# Module → name → the module of this folder that has it. Every package on the way is listed.
TABLE: Mapping[str, Mapping[str, str]] = {
    "promptflow": _CORE | {"load_flow": "client", "PFClient": "client"},
    "promptflow.core": _CORE | {"Flow": "client"},
    "promptflow._core": {},
    "promptflow._core.tool": {"tool": "core", "ToolProvider": "core"},
    "promptflow._core.metric_logger": {"log_metric": "core"},
    "promptflow.connections": _CONNECTIONS,
    "promptflow.entities": _CONNECTIONS | {"InputSetting": "types", "DynamicList": "types"},
    "promptflow.tracing": _TRACING,
    "promptflow.client": {"load_flow": "client", "PFClient": "client"},
    "promptflow.contracts": {},
    "promptflow.contracts.multimedia": {"Image": "multimedia", "PFBytes": "multimedia"},
    "promptflow.contracts.types": _TYPES,
}
# What to use for things that are asked for often and not provided.
INSTEAD: Mapping[str, str] = {
    "promptflow.tools": "call the service's HTTP API or its own package in a Python tool",
    "promptflow.core.Prompty": "use an llm node, or call the model in a Python tool",
    "promptflow.core.AsyncFlow": "use promptflow.core.Flow",
    "promptflow.azure": "run the flow here; Phoundry does not send flows to Azure",
    "promptflow.evals": "write the metric as a Python tool with `aggregation: true`",
}


@contextmanager
def import_names() -> Generator[None]:
    """Provide the names for the length of the block; what was imported before comes back after."""
    hidden = _take_out()
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _take_out()
        sys.modules.update(hidden)


def _take_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name == ROOT or name.startswith(f"{ROOT}.")]
    return {name: sys.modules.pop(name) for name in names}


def not_provided(name: str) -> str:
    """The message for a name that nothing stands behind."""
    advice = next(
        (text for key, text in INSTEAD.items() if name == key or name.startswith(f"{key}.")),
        "import what the tool needs from another package, or drop the import",
    )
    return f"Phoundry does not provide '{name}' to flows; {advice}."


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != ROOT and not fullname.startswith(f"{ROOT}."):
            return None
        if fullname not in TABLE:
            # Not None: the next finder would serve an installed promptflow's own module.
            raise ModuleNotFoundError(not_provided(fullname), name=fullname)
        return ModuleSpec(fullname, self, origin="phoundry", is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name, names = module.__name__, TABLE[module.__name__]

        def get(attribute: str) -> Any:
            if attribute in names:
                return getattr(importlib.import_module(_HERE + names[attribute]), attribute)
            if f"{name}.{attribute}" in TABLE:
                return importlib.import_module(f"{name}.{attribute}")
            message = not_provided(f"{name}.{attribute}")
            if attribute.startswith("__"):  # the import system's own questions
                raise AttributeError(message)
            raise ImportError(message, name=f"{name}.{attribute}")

        module.__dict__.update({"__getattr__": get, "__all__": sorted(names)})
