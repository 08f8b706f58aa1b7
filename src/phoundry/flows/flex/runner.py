"""A flex flow made ready in this process: its entry imported, its class made, called by line."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from phoundry.flows.attributes import Attributes
from phoundry.flows.document import is_mapping
from phoundry.flows.errors import FlowError
from phoundry.flows.flex.definition import FlexFlow
from phoundry.flows.flex.errors import (
    InvalidAggregationFunction,
    ScriptExecutionError,
    UnwrappedError,
)
from phoundry.flows.flex.making import load_entry, parameters
from phoundry.flows.model import Flow
from phoundry.flows.prepare import Connections
from phoundry.flows.provided.core import metrics
from phoundry.flows.returned import (
    OUTPUT,
    as_json,
    as_mapping,
    drained,
    gathered_text,
    sends,
)
from phoundry.flows.runner import Outcome, Send
from phoundry.flows.spans import span
from phoundry.flows.tools.python import tool_failed
from phoundry.flows.values import coerce_inputs
from phoundry.flows.workers import loop

RESULT = "line_results"


class FlexRunner:
    """Runs of a flex flow. `init` are the arguments of its class; without any, the sample's.

    Raises (when made):
        PythonLoadError: the entry does not import, or is not there.
        FlowEntryInitializationError: its class can't be made.
        InvalidAggregationFunction: `__aggregate__` does not take one parameter.
    """

    def __init__(
        self,
        flow: Flow,
        connections: Connections | None = None,
        init: Mapping[str, Any] | None = None,
    ) -> None:
        self.flow = flow
        self.definition: FlexFlow = flow.definition
        self.entry, self.object = load_entry(flow, connections or Connections(), init)
        self.parameters = parameters(self.entry)
        self.name: str = getattr(self.entry, "__qualname__", self.definition.name)
        self.asynchronous = _is_async(self.entry)
        self.aggregate_function = getattr(self.object, "__aggregate__", None)
        if self.aggregate_function is not None:
            names = parameters(self.aggregate_function)
            if len(names) != 1:
                raise InvalidAggregationFunction(
                    "The __aggregate__ method should have only one parameter.",
                    remedy="Beside self it takes the list of the lines' results.",
                )

    @property
    def aggregates(self) -> bool:
        return self.aggregate_function is not None

    def line(
        self,
        inputs: Mapping[str, Any],
        *,
        number: int | None = 0,
        on_piece: Send | None = None,
        stream_output: str | None = None,
        stream_outputs: Mapping[str, Send] | None = None,
    ) -> Outcome:
        found: dict[str, float] = {}
        given: Mapping[str, Any] = dict(inputs)
        token = metrics.set(found)
        try:
            with span("flow", self.definition.name, inputs=given) as it:
                given = self._inputs(inputs)
                value = self._call(given, sends(on_piece, stream_output, stream_outputs))
                mapping = as_mapping(value)
                output = as_json(mapping)
                if it is not None:
                    it.attributes["output"] = output
        except FlowError as error:
            return Outcome(None, {}, found, error, given)
        finally:
            metrics.reset(token)
        return Outcome(output, {}, found, None, given, {RESULT: _line_result(value, number)})

    def aggregate(
        self, inputs: Sequence[Mapping[str, Any]], aggregation_inputs: Sequence[Mapping[str, Any]]
    ) -> Outcome:
        """`__aggregate__` over the lines' results; what it returns are the metrics.

        As in Prompt flow, an `__aggregate__` that fails leaves the run without metrics: its error
        is the outcome's, and the lines stay.
        """
        if self.aggregate_function is None:
            return Outcome({}, {})
        results = [_readable(item[RESULT]) for item in aggregation_inputs]
        found: dict[str, float] = {}
        token = metrics.set(found)
        try:
            with span("function", "__aggregate__", inputs=len(results)):
                value = self._guarded("__aggregate__", self.aggregate_function, results)
        except FlowError as error:
            return Outcome(None, {}, {}, error)
        finally:
            metrics.reset(token)
        return Outcome({}, {}, found | _numbers(value))

    def run(
        self,
        inputs: Mapping[str, Any],
        *,
        on_piece: Send | None = None,
        stream_output: str | None = None,
        stream_outputs: Mapping[str, Send] | None = None,
    ) -> Outcome:
        outcome = self.line(
            inputs,
            on_piece=on_piece,
            stream_output=stream_output,
            stream_outputs=stream_outputs,
        )
        if self.aggregates and outcome.error is None:
            over = self.aggregate([outcome.inputs], [outcome.aggregation_inputs])
            outcome.metrics.update(over.metrics)
        return outcome

    def _inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of the call: declared ones coerced, unknown ones left out, the sample's
        where none are given at all."""
        given = dict(inputs) or dict(self.definition.sample_inputs)
        declared = {
            name: item for name, item in self.definition.declared.items() if item.default != ""
        }
        for name, item in declared.items():
            if name not in given and item.default is not None:
                given[name] = item.default
        known = {name: value for name, value in given.items() if name in self.parameters}
        return coerce_inputs(declared, known, None, images=False)

    def _call(self, arguments: Mapping[str, Any], send: Mapping[str, Send]) -> Any:
        if self.asynchronous:
            return loop().run(self._awaited(arguments, send))
        try:
            return gathered_text(self.entry(**arguments), send)
        except SystemExit as error:
            raise self._unwrapped(error) from None
        except Exception as error:  # noqa: BLE001 - the boundary to the user's code
            raise _failed(self.name, error) from None

    async def _awaited(self, arguments: Mapping[str, Any], send: Mapping[str, Send]) -> Any:
        try:
            value = self.entry(**arguments)
            value = await value if inspect.isawaitable(value) else value
            if isinstance(value, AsyncIterator):
                return await drained(value, send.get(OUTPUT))  # pyright: ignore[reportUnknownArgumentType]
            return gathered_text(value, send)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary to the user's code
            raise self._unwrapped(error) from None

    def _unwrapped(self, error: BaseException) -> UnwrappedError:
        details = tool_failed(self.name, error).details
        return UnwrappedError(str(error), kind=type(error).__name__, details=details)

    def _guarded(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            value = function(*arguments)
            return loop().run(_await(value)) if inspect.isawaitable(value) else value
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary to the user's code
            raise _failed(name, error) from None


def _readable(result: Any) -> Any:
    """A line's result as `__aggregate__` of many flows reads it."""
    return Attributes(result) if is_mapping(result) else result


def _line_result(value: Any, number: int | None) -> Any:
    return {**value, "line_number": number} if is_mapping(value) else value


def _numbers(value: Any) -> dict[str, float]:
    found = value if is_mapping(value) else {}
    return {str(name): item for name, item in found.items() if isinstance(item, int | float)}


def _failed(name: str, error: BaseException) -> ScriptExecutionError:
    kind = type(error).__name__
    return ScriptExecutionError(
        f"Execution failure in '{name}': ({kind}) {error}",
        details=tool_failed(name, error).details,
        inner=error if isinstance(error, FlowError) else None,
    )


def _is_async(function: Callable[..., Any]) -> bool:
    original = inspect.unwrap(function)
    return inspect.iscoroutinefunction(original) or inspect.isasyncgenfunction(original)


async def _await(value: Any) -> Any:
    return await value
