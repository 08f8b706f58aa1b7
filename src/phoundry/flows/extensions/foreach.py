"""`foreach`: a node's call for each item of a list, some at once, in the list's order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any, cast

from phoundry.flows import spans
from phoundry.flows.document import is_list
from phoundry.flows.errors import FlowDepthExceeded, FlowError, NodeInputValidationError
from phoundry.flows.extensions.keys import Foreach
from phoundry.flows.reference import ItemReference, walk
from phoundry.flows.schedule import Nested, Step
from phoundry.flows.workers import workers

Call = Callable[[dict[str, Any]], Any]
Answer = tuple[int, Any, BaseException | None]


def over_items(step: Step, foreach: Foreach) -> Step:
    """`step` once for each item. The list comes in as an argument that no parameter can be."""
    key = str(ItemReference(foreach.item))
    items = {
        name: item.path for name, item in step.arguments.items() if isinstance(item, ItemReference)
    }
    rest = {name: item for name, item in step.arguments.items() if name not in items}
    call = ForEach(step.node.name, step.call, foreach, items, key)
    return replace(step, call=call, arguments={**rest, key: foreach.over})


@dataclass(frozen=True, slots=True)
class ForEach:
    """`items` are paths into the item by argument; `key` is the argument that holds the list.

    Raises (when called):
        NodeInputValidationError: there is no list.
        FlowError: of the first item that failed, unless `on_error` lets it pass.
    """

    node: str
    call: Call
    foreach: Foreach
    items: Mapping[str, str]
    key: str

    def __call__(self, arguments: dict[str, Any]) -> list[Any]:
        rest = dict(arguments)
        found = rest.pop(self.key)
        if not is_list(found) and not isinstance(found, tuple):
            raise NodeInputValidationError(
                f"Node '{self.node}' goes through a list, but `foreach.over` is a "
                f"{type(found).__name__}: {_short(found)}.",
                remedy="Refer to a list; an input of the flow gets `type: list`.",
            )
        values: list[Any] = list(cast(Any, found))
        at_once = min(self.foreach.concurrency, len(values))
        results = self._in_turn(values, rest) if at_once < 2 else self._at_once(values, rest)
        if self.foreach.on_error == "skip":
            return [value for value, failed in results if not failed]
        return [value for value, _ in results]

    def _in_turn(self, values: list[Any], rest: dict[str, Any]) -> list[tuple[Any, bool]]:
        return [self._settled(*self._one(place, item, rest)) for place, item in enumerate(values)]

    def _at_once(self, values: list[Any], rest: dict[str, Any]) -> list[tuple[Any, bool]]:
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        waiting = enumerate(values)
        lock, ended = threading.Lock(), threading.Event()

        def work() -> None:
            while not ended.is_set():
                with lock:
                    following = next(waiting, None)
                if following is None:
                    return
                answers.put(self._one(*following, rest))

        for _ in range(min(self.foreach.concurrency, len(values))):
            workers().submit(copy_context().run, work)
        results: dict[int, tuple[Any, bool]] = {}
        try:
            while len(results) < len(values):
                answer = answers.get()
                results[answer[0]] = self._settled(*answer)
        finally:
            ended.set()  # after a failure nothing new starts
        return [results[place] for place in range(len(values))]

    def _one(self, place: int, item: Any, rest: dict[str, Any]) -> Answer:
        try:
            with spans.span("function", f"{self.node}[{place}]") as it:
                arguments = rest | {
                    name: walk(self.foreach.item, item, path) for name, path in self.items.items()
                }
                if it is not None:
                    it.attributes["inputs"] = arguments
                value = self.call(arguments)
                value = value.value if type(value) is Nested else value
                if it is not None:
                    it.attributes["output"] = value
        except BaseException as error:  # noqa: BLE001 - raised again in the node's own thread
            return place, None, error
        return place, value, None

    def _settled(self, place: int, value: Any, error: BaseException | None) -> tuple[Any, bool]:
        """The item's value and whether it failed; a failure that does not pass is raised."""
        if error is None:
            return value, False
        passes = self.foreach.on_error != "fail" and not isinstance(error, FlowDepthExceeded)
        if isinstance(error, FlowError) and passes:
            return None, True
        if isinstance(error, FlowError) and not isinstance(error, FlowDepthExceeded):
            error.message = f"Item {place} of `foreach`: {error.message}"
        raise error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
