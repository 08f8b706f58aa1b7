"""`type: flow`: a node that runs another flow, or its own.

The inner flow's tools are imported beside the outer one's and share its process, working directory
and environment. A flow that is already being opened is used as it is, which is how flows can call
themselves; how deep is bounded when they run.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phoundry.flows.errors import FlowDepthExceeded, NotSupported
from phoundry.flows.includes import place_of, sources
from phoundry.flows.inspection import read_file
from phoundry.flows.model import Flow, Node
from phoundry.flows.prepare import Connections
from phoundry.flows.reference import Literal
from phoundry.flows.runner import Runner, open_runner
from phoundry.flows.schedule import Nested, Step

MOST_DEEP = 50
MOST_AT_ONCE = 100  # within one call of the outermost
MOST_OPENED = 1_000  # by one flow: twenty files of two `flow` nodes each stand for a million
_NONE: Mapping[Path, Connections] = {}
_depth: ContextVar[int] = ContextVar("depth", default=0)


@dataclass(slots=True)
class Opened:
    """A flow by its file; `runner` is None while it is being opened."""

    file: Path
    runner: Runner | None = None


# The connections of the flows around this one, by file: a flow that calls itself keeps them.
_known: ContextVar[Mapping[Path, Connections]] = ContextVar("known", default=_NONE)
# The flows that are being opened around this one, outermost first.
_opening: ContextVar[tuple[Opened, ...]] = ContextVar("opening", default=())
# The files that have been opened for the outermost of them.
_count: ContextVar[list[Path]] = ContextVar("count")


def flow_step(flow: Flow, node: Node, connections: Connections) -> Step:
    """The step of a `flow` node; the inner flow is opened, unless it is one of those around it.

    Raises:
        InvalidSource: there is no such file.
        NotSupported: the inner flow needs environment variables that the outer one does not set.
        FlowDepthExceeded: too many flows are inside each other.
        FlowError: the inner flow does not load.
    """
    file = Path(read_file(flow, node)[0]).resolve()
    around, known = _opening.get(), {**_known.get(), flow.file.resolve(): connections}
    opened = next((item for item in around if item.file == file), None)
    if opened is None:
        opened = Opened(file)
        if not around:
            _count.set([])
        refuse_too_many(node.name, file, len(around), _count.get())
        opening, knowing = _opening.set((*around, opened)), _known.set(known)
        try:
            own = known.get(file) or within(connections, node.name)
            opened.runner = _open(flow, node, file, own)
        finally:
            _known.reset(knowing)
            _opening.reset(opening)
    literals = {name: item.value for name, item in node.inputs.items() if isinstance(item, Literal)}
    references = {name: item for name, item in node.inputs.items() if name not in literals}
    return Step(node, SubFlow(node.name, opened), references, literals)


def refuse_too_many(node: str, file: Path, deep: int, opened: list[Path]) -> None:
    """Add the flow in `file`, which `node` runs within `deep` others, to those `opened`.

    Raises:
        FlowDepthExceeded: it is one too many.
    """
    opened.append(file)
    if deep < MOST_DEEP and len(opened) <= MOST_OPENED:
        return
    found = f"within {deep} others" if deep >= MOST_DEEP else f"as number {len(opened):,}"
    raise FlowDepthExceeded(
        f"Node '{node}' opens the flow {file.name} {found}, which is too many.",
        remedy="Use `foreach` for one flow many times, or put inner flows together.",
    )


def _open(flow: Flow, node: Node, file: Path, connections: Connections) -> Runner:
    from phoundry.flows.load import load_flow

    inner = load_flow(file)
    if missing := sorted(set(inner.environment_variables) - set(flow.environment_variables)):
        raise NotSupported(
            f"The flow of node '{node.name}' sets the environment variables {', '.join(missing)}, "
            "and a process has one environment.",
            remedy="Set them in the outer flow's `environment_variables` too.",
        )
    with _own_modules(flow, inner):
        return open_runner(inner, connections)


@contextmanager
def _own_modules(outer: Flow, inner: Flow) -> Generator[None]:
    """Let tools of `inner` import what lies beside them or is included, also where `outer` has a
    module of the same name. Afterwards the outer flow's come first again; `surroundings` puts all
    of it back."""
    # As text: thousands of modules are looked at, for each flow that is opened.
    outside = tuple(f"{place}{os.sep}" for place in (outer.root, place_of(outer)))
    own = f"{inner.root}{os.sep}"
    places = list(dict.fromkeys([inner.root, *(source.parent for source in sources(inner))]))
    hidden = {
        name: module
        for name, module in sys.modules.items()
        if isinstance(file := getattr(module, "__file__", None), str)
        and file.startswith(outside)
        and not file.startswith(own)
    }
    for name in hidden:
        del sys.modules[name]
    paths = [str(place) for place in places]
    sys.path[:0] = paths
    try:
        yield
    finally:
        for path in paths:
            sys.path.remove(path)
        # For what its tools import while they run.
        sys.path += [path for path in paths if path not in sys.path]
        sys.modules.update(hidden)


def within(connections: Connections, node: str) -> Connections:
    """What of `connections` is meant for the flow of `node`: `node.inner.x` as `inner.x`."""

    def own(places: Mapping[str, str]) -> dict[str, str]:
        return {
            place.removeprefix(f"{node}."): name
            for place, name in places.items()
            if place.startswith(f"{node}.")
        }

    return Connections(own(connections.chosen), connections.values, own(connections.overrides))


class Inside:
    """The flows that run at once within one call of the outermost of them. A flow that calls itself
    twice without an end would be more threads than any machine has, long before it is deep."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running, self._over = 0, False

    def enter(self, node: str) -> None:
        """Raises FlowDepthExceeded for one too many, and for all that come after it."""
        with self._lock:
            self._over = self._over or self._running >= MOST_AT_ONCE
            if not self._over:
                self._running += 1
                return
        raise FlowDepthExceeded(
            f"Node '{node}' runs a flow beside {MOST_AT_ONCE} others within it, which is the most.",
            remedy="Let a condition (`activate`) end the recursion sooner, or use `foreach`.",
        )

    def leave(self) -> None:
        with self._lock:
            self._running -= 1


_inside: ContextVar[Inside] = ContextVar("inside")


@dataclass(frozen=True, slots=True)
class SubFlow:
    """A flow as a node calls it: inputs in, its outputs as one object out.

    Raises (when called):
        FlowDepthExceeded: flows call each other without an end.
        FlowError: the inner flow failed; the codes are its own.
    """

    node: str
    opened: Opened = field(repr=False)

    def __call__(self, arguments: dict[str, Any]) -> Nested:
        depth = _depth.get()
        if depth >= MOST_DEEP:
            raise FlowDepthExceeded(
                f"Node '{self.node}' runs a flow within {depth} others, which is the most.",
                remedy="Let a condition (`activate`) end the recursion sooner, or use `foreach`.",
            )
        assert self.opened.runner is not None  # noqa: S101 - opened before any line runs
        if depth == 0:
            _inside.set(Inside())
        inside = _inside.get()
        inside.enter(self.node)
        token = _depth.set(depth + 1)
        try:
            outcome = self.opened.runner.line(arguments)
        finally:
            _depth.reset(token)
            inside.leave()
        if outcome.error is not None:
            if not isinstance(outcome.error, FlowDepthExceeded):
                outcome.error.message = f"In the flow of '{self.node}': {outcome.error.message}"
            raise outcome.error
        return Nested(outcome.output, outcome.nodes)
