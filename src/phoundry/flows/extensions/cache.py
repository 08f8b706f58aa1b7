"""`cache`: what a node gave for the same inputs before, kept in files.

Two calls are the same when the node's code, the inputs and Phoundry's version are. Only values that
JSON gives back as they were are kept; a node that gives something else runs each time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from phoundry.flows import spans
from phoundry.flows.extensions.keys import Cache
from phoundry.flows.extensions.store import Store
from phoundry.flows.schedule import Nested, Step
from phoundry.flows.streams import joined
from phoundry.version import __version__

if TYPE_CHECKING:
    from phoundry.flows.model import Flow, Node

LOG = logging.getLogger(__name__)
Call = Callable[[dict[str, Any]], Any]
NO_CODE = ("__pycache__", "node_modules", "site-packages")
PLAIN = (str, int, float, bool, type(None))


class NotPlain(Exception):
    """A value that JSON would not give back as it is."""


@dataclass(frozen=True, slots=True)
class Cached:
    """`call` of `node`, whose code and settings are told apart by `identity`."""

    call: Call
    cache: Cache
    identity: str
    node: Node

    def __call__(self, arguments: dict[str, Any]) -> Any:
        try:
            key = self._key(arguments)
        except NotPlain:
            return self.call(arguments)
        try:
            store = Store.current()
        except OSError as error:  # as below
            LOG.warning("The cache of node '%s' can't be used: %s", self.node.name, error)
            return self.call(arguments)
        entry = store.get(key, self.cache.ttl)
        if entry is not None:
            spans.note(cached=True)
            [value] = entry
            return joined(self.node.name, [value]) if isinstance(value, str) else value
        result = self.call(arguments)
        value = result.value if type(result) is Nested else result
        try:
            plain(value)
        except NotPlain:
            return result
        try:
            store.put(key, value)
        except OSError as error:  # a full or read-only disk costs the next call, not this one
            LOG.warning("The value of node '%s' can't be kept: %s", self.node.name, error)
            spans.note(cache_error=str(error))
        return result

    def _key(self, arguments: dict[str, Any]) -> str:
        chosen = arguments
        if self.cache.key is not None:
            chosen = {name: arguments.get(name) for name in self.cache.key}
        told = {name: _told(value) for name, value in sorted(chosen.items())}
        return hashlib.sha256(f"{self.identity}\n{json.dumps(told)}".encode()).hexdigest()


def identity(flow: Flow, step: Step) -> str:
    """What tells this node from others and from its own earlier versions: a SHA-256.

    A Python node's code is every `.py` file of the flow, for what its file imports; a flow's is
    every file; a prompt's is its template; a package tool's its module. The variables that the flow
    sets count, too.
    """
    node, digest = step.node, hashlib.sha256()
    parts = [__version__, str(node.type), str(node.source), str(node.connection), str(node.api)]
    parts += [f"{name}={item}" for name, item in sorted(node.inputs.items())]
    # As they are now, which is what the tool sees: the flow around this one may have set others.
    parts += [
        f"{name}={os.environ.get(name)}" for name in sorted(map(str, flow.environment_variables))
    ]
    parts.append(str(getattr(getattr(step.call, "target", None), "url", "")))
    parts.append(str(getattr(getattr(step.call, "target", None), "model", "")))
    digest.update(json.dumps(parts).encode())
    for file in _files(flow, node):
        digest.update(f"\n{file}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files(flow: Flow, node: Node) -> Iterator[Path]:
    own = flow.locate(node.source.path) if node.source and node.source.path else None
    if own is not None:
        yield own
    if node.source and node.source.tool:  # `package.module.function`
        yield from _module_file(node.source.tool)
    if node.type not in ("python", "flow"):
        return
    places = [flow.root, *(flow.root / include for include in flow.additional_includes)]
    for place in places:
        for file in [place] if place.is_file() else sorted(place.rglob("*")):
            parts = file.relative_to(place).parts
            hidden = any(part.startswith(".") or part in NO_CODE for part in parts)
            if file.is_file() and not hidden and (node.type == "flow" or file.suffix == ".py"):
                yield file


def _module_file(tool: str) -> Iterator[Path]:
    """Of the module behind a package's tool, whose id need not be its name."""
    from phoundry.flows.tools.packages import describe

    module = str((describe(tool) or {}).get("module") or tool.rpartition(".")[0])
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None and Path(spec.origin).is_file():
            yield Path(spec.origin)


def _told(value: Any) -> Any:
    """`value` as a key tells it apart; a connection by its name and its settings.

    Raises:
        NotPlain: it can't be.
    """
    kind = getattr(value, "TYPE", None)
    if isinstance(kind, str) and hasattr(value, "configs") and hasattr(value, "name"):
        return {"connection": [kind, str(value.name), dict(value.configs)]}
    if isinstance(value, str) and getattr(value, "marked", None) == str(value):
        return str(value)  # a prompt without a word of a user's that is marked
    return plain(value)


def plain(value: Any) -> Any:
    """`value` itself, where JSON gives back the same.

    Raises:
        NotPlain: something in it is of another type, or a number that JSON has not; it holds
            itself, or is too deep.
    """
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        raise NotPlain from None
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if type(item) is dict:
            entries = cast(dict[Any, Any], item)
            if any(type(key) is not str for key in entries):
                raise NotPlain
            pending += entries.values()
        elif type(item) is list:
            pending += cast(list[Any], item)
        elif type(item) not in PLAIN or (type(item) is float and not math.isfinite(item)):
            raise NotPlain
    return value
