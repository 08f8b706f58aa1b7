"""Which input a user types into, which output answers, and where the history goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from phoundry.errors import Conflict, UsageError, nearest
from phoundry.flows.model import Flow
from phoundry.specs.flow import FlowSettings

# What the question is called where a flow with a history says no more; the likeliest first.
QUESTIONS = ("chat_input", "question", "query", "user_input", "message")


@dataclass(frozen=True, slots=True)
class ChatRoles:
    """Names of a flow's input and output that a chat uses; `history` is an input or None, made of
    OpenAI's messages where `messages` is set: in flex flows and prompties."""

    input: str
    output: str
    history: str | None
    messages: bool = False

    def turns(self, question: str, answer: Any) -> list[dict[str, Any]]:
        """What one question and its answer add to the history."""
        if not self.messages:
            return [self.turn(question, answer)]
        said = answer if isinstance(answer, str) else str(answer)
        return [
            {"role": "user", "content": question},
            {"role": "assistant", "content": said},
        ]

    def turn(self, question: str, answer: Any) -> dict[str, Any]:
        """One entry of the history, as DAG flows take it."""
        return {"inputs": {self.input: question}, "outputs": {self.output: answer}}


def chat_roles(
    flow: Flow,
    remembered: FlowSettings | None,
    chat_input: str | None = None,
    chat_output: str | None = None,
) -> ChatRoles:
    """The roles of `flow`: from the call, the file, what is remembered, else the only candidates.

    The only candidates are the only string input that is not the history, and the only output. Of
    several inputs of a flex flow with a history it is the one without a default, or called so.

    Raises:
        UsageError: a name that the flow does not have.
        Conflict: none or several could be meant; the remedy names them and the option.
    """
    history = next((name for name, item in flow.inputs.items() if item.is_chat_history), None)
    kept = remembered or FlowSettings(path=str(flow.root))
    if history is None and kept.chat_history in flow.inputs:
        history = kept.chat_history
    inputs = [
        name for name, item in flow.inputs.items() if item.type == "string" and name != history
    ]
    if flow.kind != "dag" and history is not None:  # whose files mark no chat's input
        inputs = _likeliest(flow, inputs)
    asked = _choose(
        "input",
        chat_input,
        [name for name, item in flow.inputs.items() if item.is_chat_input],
        kept.chat_input,
        inputs,
        list(flow.inputs),
    )
    answered = _choose(
        "output",
        chat_output,
        [name for name, item in flow.outputs.items() if item.is_chat_output],
        kept.chat_output,
        list(flow.outputs),
        list(flow.outputs),
    )
    return ChatRoles(asked, answered, history, messages=flow.kind != "dag")


def _likeliest(flow: Flow, inputs: list[str]) -> list[str]:
    """Of several inputs the one that must be given, else the one with a question's name."""
    needed = [name for name in inputs if flow.inputs[name].required] or inputs
    named = [name for name in QUESTIONS if name in needed]
    return named[:1] if len(needed) > 1 and named else needed


def streamed_output(flow: Flow, settings: FlowSettings) -> str | None:
    """The output whose text is shown as it comes; None where there is no telling."""
    try:
        return chat_roles(flow, settings, chat_input=next(iter(flow.inputs), None)).output
    except Conflict:
        return None


def _choose(
    kind: str,
    given: str | None,
    flagged: list[str],
    remembered: str | None,
    candidates: list[str],
    known: list[str],
) -> str:
    if given is not None:
        if given not in known:
            near = ", ".join(nearest(given, known) or known) or "none"
            raise UsageError(
                f"The flow has no {kind} '{given}'.",
                remedy=f"It has: {near}. Choose with --chat-{kind} NAME.",
            )
        return given
    if len(flagged) == 1:
        return flagged[0]
    if remembered in known:
        return str(remembered)
    candidates = flagged or candidates
    if len(candidates) == 1:
        return candidates[0]
    found = f"several could be: {', '.join(candidates)}" if candidates else "none could be"
    raise Conflict(
        f"The flow does not say which {kind} is the chat's, and {found}.",
        remedy=f"Choose it with --chat-{kind} {candidates[0] if candidates else 'NAME'}, or mark "
        f"it in the flow's file with `is_chat_{kind}: true`.",
    )
