"""The flow of a serving process: opened once, asked many times."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from phoundry.errors import Conflict
from phoundry.flows.chat import ChatRoles, chat_roles
from phoundry.flows.executor import surroundings
from phoundry.flows.includes import place_of, sources
from phoundry.flows.load import load_flow
from phoundry.flows.model import Flow
from phoundry.flows.multimedia import confined
from phoundry.flows.returned import OUTPUT
from phoundry.flows.runner import Outcome, Runner, open_runner
from phoundry.serving.flow.opening import Opening
from phoundry.serving.flow.tracing import NOBODY, Asked, Tell, Traces, untraced


@dataclass(frozen=True, slots=True)
class Hosted:
    """A flow with its tools imported in this process.

    `hidden` are outputs which an answer leaves out.
    """

    flow: Flow
    runner: Runner
    roles: ChatRoles | None
    hidden: frozenset[str]
    secrets: tuple[str, ...] = ()
    traces: Traces | None = None

    def ask(
        self,
        inputs: Mapping[str, Any],
        on_piece: Callable[[str, str], None] | None = None,
        asked: Asked = NOBODY,
    ) -> Outcome:
        """One line, without aggregation, as Prompt flow serves it. May be called from threads.

        `on_piece` gets the name of an output and a piece of its text, of those that stream.
        """
        if self.traces is not None:
            return self.traces.run(lambda: self._line(inputs, on_piece), asked)
        return untraced(lambda: self._line(inputs, on_piece), asked)

    def _line(
        self, inputs: Mapping[str, Any], on_piece: Callable[[str, str], None] | None
    ) -> Outcome:
        if on_piece is None:
            return self.runner.line(inputs, number=None)
        names = [name for name in self.flow.outputs if name not in self.hidden]
        return self.runner.line(
            inputs,
            number=None,
            stream_outputs={name: partial(on_piece, name) for name in names},
        )

    def shown(self, output: Mapping[str, Any]) -> Mapping[str, Any]:
        """`output` without what an answer leaves out."""
        if not self.hidden:
            return output
        return {name: value for name, value in output.items() if name not in self.hidden}

    def answer(self, outcome: Outcome) -> Any:
        """What a completed run is answered with: its outputs; of a function or a prompty that
        gave no mapping, the value itself."""
        output = outcome.output or {}
        if self.flow.kind != "dag" and set(output) == {OUTPUT}:
            from phoundry.flows.flex.runner import RESULT

            if not isinstance(outcome.aggregation_inputs.get(RESULT), Mapping):
                return output[OUTPUT]
        return self.shown(output)


@contextmanager
def opened(opening: Opening, tell: Tell | None = None) -> Generator[Hosted]:
    """The flow of `opening`, in its surroundings for the length of the block. `tell` gets traces.

    Raises:
        NotFound: no flow there.
        FlowError: it does not load; every fault is in it.
    """
    os.environ.update(opening.environment)
    flow = load_flow(Path(opening.path), variant=opening.variant)
    with surroundings(flow, opening.connections):
        runner = open_runner(flow, opening.connections, opening.init)
        with confined([flow.root, place_of(flow), *sources(flow)]):  # requests name no other files
            yield Hosted(
                flow,
                runner,
                roles_of(flow),
                frozenset(name for name, item in flow.outputs.items() if item.evaluation_only),
                tuple(opening.secrets),
                Traces(tell, tuple(opening.secrets)) if tell and opening.traced else None,
            )


def roles_of(flow: Flow) -> ChatRoles | None:
    """What a chat page is made of; None for a flow with neither a chat input nor a history."""
    marked = [name for name, item in flow.inputs.items() if item.is_chat_input]
    remembers = any(item.is_chat_history for item in flow.inputs.values())
    if not flow.outputs or not (len(marked) == 1 or remembers):
        return None
    flagged = [name for name, item in flow.outputs.items() if item.is_chat_output]
    answer = (flagged or list(flow.outputs))[0]
    try:
        return chat_roles(flow, None, marked[0] if len(marked) == 1 else None, answer)
    except Conflict:
        return None  # it remembers, and there is no telling which input is the question
