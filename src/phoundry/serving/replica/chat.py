"""OpenAI's chat completions: read a request, answer it whole or as a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from phoundry.serving.asgi import Send, reply_json
from phoundry.serving.errors import bad_parameter
from phoundry.serving.replica.call_formats import CallFormat, CallReader, call_format
from phoundry.serving.replica.chat_reply import ChatReply
from phoundry.serving.replica.defaults import NONE, filled, with_system
from phoundry.serving.replica.events import Head, stream
from phoundry.serving.replica.generation import Ask
from phoundry.serving.replica.json_schema import check_schema, read_response_format, written
from phoundry.serving.replica.metrics import Passage
from phoundry.serving.replica.model import ServedModel
from phoundry.serving.replica.parameters import Parameters, sampling
from phoundry.serving.replica.tools import ToolUse, read_tool_use
from phoundry.specs.deployment import GenerationDefaults

TOP_LOGPROBS = 20  # OpenAI's limit

_USED = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"}
    | {"temperature", "top_p", "top_k", "n", "stop", "seed", "logprobs", "top_logprobs"}
    | {"presence_penalty", "frequency_penalty", "response_format"}
    | {"tools", "tool_choice", "parallel_tool_calls"}
)
# They change nothing about the answer of a model that runs here.
WITHOUT_EFFECT = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
    | {"reasoning_effort", "verbosity", "prediction"}
)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    ask: Ask
    model: str | None
    stream: bool
    include_usage: bool
    use: ToolUse


async def chat(model: ServedModel, body: dict[str, Any], send: Send, passage: Passage) -> None:
    """Answer one request."""
    request = read(body, model.defaults())
    ask, use, reader = request.ask, request.use, None
    if use.tools:
        form = call_format(model.generator.tokenizer, use.tools)
        ask, reader = _calling(ask, use, form), CallReader(form, use)
    prepared = model.generator.prepare(ask)
    passage.prompt_tokens = len(prepared.prompt_ids)
    name = request.model or model.name
    head = Head("chat.completion", "chatcmpl", name, passage.prompt_tokens, model.fingerprint)
    reply = ChatReply(head, request.include_usage, reader, ask.sampling.top_logprobs is not None)
    if request.stream:
        await stream(prepared.run(), reply, send, passage)
        return
    piece = await prepared.whole()
    passage.completion_tokens = piece.tokens
    await reply_json(send, 200, reply.whole(piece), [passage.usage])


def read(body: dict[str, Any], defaults: GenerationDefaults = NONE) -> ChatRequest:
    """The request in `body`, what it leaves out taken from the deployment's `defaults`.

    Raises InvalidInput naming what cannot be used.

    Without any temperature the answer is greedy (OpenAI's default is 1): the same question gets
    the same answer, which is what one wants of a model tuned on facts.
    """
    new, old = "max_completion_tokens", "max_tokens"
    name = new if body.get(new) is not None else old
    asked = filled(body, defaults, "temperature", "top_p", "stop", *([old] if name == old else []))
    parameters = Parameters(asked)
    parameters.refuse_unknown(_USED | WITHOUT_EFFECT)
    one_answer(parameters, "n")
    options = Parameters(parameters.mapping("stream_options"), "stream_options.")
    use = read_tool_use(parameters, body)
    chosen = replace(
        sampling(parameters, parameters.number("temperature", 0, 2)),
        top_logprobs=_top_logprobs(parameters),
        json_schema=read_response_format(parameters),
    )
    if use.forced and chosen.json_schema is not None:
        raise bad_parameter(
            "tool_choice", "forces a call; 'response_format' forces something else."
        )
    return ChatRequest(
        Ask(
            messages=with_system(parameters.messages(), defaults),
            sampling=chosen,
            max_tokens=parameters.integer(name, 1, 2**31),
            max_tokens_name=name,
            stop=parameters.stop(),
            tools=use.tools,
        ),
        model=parameters.text("model"),
        stream=parameters.boolean("stream") or False,
        include_usage=options.boolean("include_usage") or False,
        use=use,
    )


def one_answer(parameters: Parameters, name: str) -> None:
    """Refuse `name` (how many answers are wanted) unless it is 1."""
    count = parameters.integer(name, 1, 128)
    if count not in (None, 1):
        raise bad_parameter(name, f"is {count}; one answer a request is given here, so 1.")


def _top_logprobs(parameters: Parameters) -> int | None:
    top = parameters.integer("top_logprobs", 0, TOP_LOGPROBS)
    if not parameters.boolean("logprobs"):
        if top is not None:
            raise bad_parameter("top_logprobs", "needs 'logprobs' to be true.")
        return None
    return top or 0


def _calling(ask: Ask, use: ToolUse, form: CallFormat) -> Ask:
    """The question of a model that may, or must, call a tool."""
    shown = tuple(text for text in (form.opening, form.closing) if text)
    chosen = replace(ask.sampling, shown=shown)
    if not use.forced:
        return replace(ask, sampling=chosen)
    for tool in use.callable:
        function: Mapping[str, Any] = tool["function"]
        check_schema(function.get("parameters") or {}, f"tools.{function['name']}.parameters")
    schema = written(form.schema(use.callable, use.one))
    held = replace(chosen, json_schema=schema, schema_parameter="tools")
    return replace(ask, sampling=held, opening=form.begun)
