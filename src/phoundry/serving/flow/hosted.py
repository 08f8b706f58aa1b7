"""The flow of a serving process: opened once, asked many times."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phoundry.flows.chat import ChatRoles, chat_roles
from phoundry.flows.executor import surroundings
from phoundry.flows.load import load_flow
from phoundry.flows.model import Flow
from phoundry.flows.reference import NodeReference
from phoundry.flows.runner import Outcome, Runner, open_runner
from phoundry.serving.flow.opening import Opening


@dataclass(frozen=True, slots=True)
class Hosted:
    """A flow with its tools imported in this process.

    `streamed` is the output that may come in pieces, `hidden` those which an answer leaves out.
    """

    flow: Flow
    runner: Runner
    roles: ChatRoles | None
    streamed: str | None
    hidden: frozenset[str]
    secrets: tuple[str, ...] = ()

    def ask(
        self, inputs: Mapping[str, Any], on_piece: Callable[[str], None] | None = None
    ) -> Outcome:
        """One line, without aggregation, as Prompt flow serves it. May be called from threads."""
        if on_piece is None:
            return self.runner.line(inputs)
        return self.runner.line(inputs, on_piece=on_piece, stream_output=self.streamed)

    def shown(self, output: Mapping[str, Any]) -> Mapping[str, Any]:
        """`output` as it is answered."""
        if not self.hidden:
            return output
        return {name: value for name, value in output.items() if name not in self.hidden}


@contextmanager
def opened(opening: Opening) -> Generator[Hosted]:
    """The flow of `opening`, in its surroundings for the length of the block.

    Raises:
        NotFound: no flow there.
        FlowError: it does not load; every fault is in it.
    """
    os.environ.update(opening.environment)
    flow = load_flow(Path(opening.path), variant=opening.variant)
    with surroundings(flow, opening.connections):
        runner = open_runner(flow, opening.connections, opening.init)
        yield Hosted(
            flow,
            runner,
            roles_of(flow),
            _streamed(flow),
            frozenset(name for name, item in flow.outputs.items() if item.evaluation_only),
            tuple(opening.secrets),
        )


def roles_of(flow: Flow) -> ChatRoles | None:
    """What a chat page is made of; None where the flow's file marks no chat input."""
    marked = [name for name, item in flow.inputs.items() if item.is_chat_input]
    if len(marked) != 1 or not flow.outputs:
        return None
    answers = [name for name, item in flow.outputs.items() if item.is_chat_output]
    return chat_roles(flow, None, marked[0], (answers or [next(iter(flow.outputs))])[0])


def _streamed(flow: Flow) -> str | None:
    """The chat output, else the first that is a node's whole value which no other node reads."""
    flagged = [name for name, item in flow.outputs.items() if item.is_chat_output]
    if len(flagged) == 1:
        return flagged[0]
    read = {name for node in flow.nodes for name in node.dependencies}
    for name, item in flow.outputs.items():
        reference = item.reference
        if isinstance(reference, NodeReference) and not reference.path:
            if reference.node not in read:
                return name
        elif not flow.nodes:
            return name  # a flex flow or a prompty: what it gives may come in pieces
    return None
