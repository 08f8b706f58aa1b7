"""A prompty behind the page that every kind of flow runs behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from phoundry.flows.errors import FlowError, TemplateSyntaxError
from phoundry.flows.flex.errors import ScriptExecutionError
from phoundry.flows.model import Flow
from phoundry.flows.prepare import Connections
from phoundry.flows.prompty.definition import PromptyFlow
from phoundry.flows.prompty.images import as_image
from phoundry.flows.prompty.prompt import Prompt
from phoundry.flows.prompty.references import read_sample
from phoundry.flows.returned import OUTPUT, as_json, as_mapping, joined, sends
from phoundry.flows.runner import Outcome, Send
from phoundry.flows.spans import span
from phoundry.flows.values import coerce_inputs


class PromptyRunner:
    """Runs of a prompty. `init` are settings in place of the file's, such as `model`.

    Raises (when made):
        FlowError: the prompty's model, files or template are wrong.
    """

    aggregates = False

    def __init__(
        self,
        flow: Flow,
        connections: Connections | None = None,
        init: Mapping[str, Any] | None = None,
    ) -> None:
        definition: PromptyFlow = flow.definition
        self.flow = flow
        self.declared = bool(definition.settings.get("inputs"))
        try:
            self.prompt = Prompt(flow.file, definition.settings, definition.template, init)
        except TemplateSyntaxError as error:
            # Prompt flow parses the template in every call, whose errors have one code.
            raise _failed(flow.file.stem, error) from None

    def line(
        self,
        inputs: Mapping[str, Any],
        *,
        number: int | None = 0,
        on_piece: Send | None = None,
        stream_output: str | None = None,
        stream_outputs: Mapping[str, Send] | None = None,
    ) -> Outcome:
        given: Mapping[str, Any] = dict(inputs)
        try:
            with span("flow", self.prompt.name, inputs=given) as it:
                given = self._inputs(inputs)
                send = sends(on_piece, stream_output, stream_outputs).get(OUTPUT)
                answer = self._answer(given, send)
                output = as_json(as_mapping(answer))
                if it is not None:
                    it.attributes["output"] = output
        except FlowError as error:
            return Outcome(None, {}, {}, error, given)
        return Outcome(output, {}, {}, None, given)

    def aggregate(
        self, inputs: Sequence[Mapping[str, Any]], aggregation_inputs: Sequence[Mapping[str, Any]]
    ) -> Outcome:
        return Outcome({}, {})

    def run(
        self,
        inputs: Mapping[str, Any],
        *,
        on_piece: Send | None = None,
        stream_output: str | None = None,
        stream_outputs: Mapping[str, Send] | None = None,
    ) -> Outcome:
        return self.line(
            inputs,
            on_piece=on_piece,
            stream_output=stream_output,
            stream_outputs=stream_outputs,
        )

    def _inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Coerced to the declared types; the sample's where none are given at all.

        A prompty that declares no inputs has those of its sample: examples, which hold what is
        given to no type and stand in for whatever is not.
        """
        needed = not (inputs and self.declared)
        sample = read_sample(self.prompt.sample, self.flow.root) if needed else {}
        given = dict(inputs) or sample
        known = {name: value for name, value in given.items() if name in self.flow.inputs}
        if not self.declared:
            return {**sample, **known}
        for name, item in self.flow.inputs.items():
            value = known.get(name, item.default)
            if item.type == "image" and isinstance(value, str):
                known[name] = as_image(value, self.flow.root)  # as prompties write it in one text
        return coerce_inputs(self.flow.inputs, known, None)

    def _answer(self, given: Mapping[str, Any], send: Send | None) -> Any:
        try:
            answer = self.prompt(given, stream_text=send is not None)
            return joined(answer, send) if isinstance(answer, Iterator) else answer
        except FlowError as error:
            raise _failed(self.prompt.name, error) from None


def _failed(name: str, error: FlowError) -> ScriptExecutionError:
    return ScriptExecutionError(
        f"Execution failure in '{name}': ({error.code}) {error.message}",
        remedy=error.remedy,
        where=error.where,
        inner=error,
    )
