"""OpenAI's completions: a prompt as it stands, without a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from phoundry.data import ChatTokenizer
from phoundry.serving.asgi import Send, reply_json
from phoundry.serving.engines.base import TokenLogprob
from phoundry.serving.errors import bad_parameter
from phoundry.serving.replica.chat import WITHOUT_EFFECT, one_answer
from phoundry.serving.replica.defaults import NONE, filled
from phoundry.serving.replica.events import DONE, Head, cut, sse, stream
from phoundry.serving.replica.events import filled as filled_in
from phoundry.serving.replica.generation import Ask, Piece
from phoundry.serving.replica.metrics import Passage
from phoundry.serving.replica.model import ServedModel
from phoundry.serving.replica.parameters import Parameters, sampling
from phoundry.specs.deployment import GenerationDefaults

MAX_TOKENS = 16  # OpenAI's default here: a bare prompt has no end of its own
LOGPROBS = 5  # OpenAI's limit

_USED = frozenset(
    {"model", "prompt", "stream", "stream_options", "max_tokens", "temperature", "top_p", "top_k"}
    | {"n", "best_of", "stop", "seed", "logprobs", "echo"}
    | {"presence_penalty", "frequency_penalty"}
)
_TEXT = "\x00"


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    ask: Ask
    prompt: str | list[int]
    model: str | None
    stream: bool
    include_usage: bool
    echo: bool


async def complete(model: ServedModel, body: dict[str, Any], send: Send, passage: Passage) -> None:
    """Answer one request."""
    request = read(body, model.defaults())
    tokenizer = model.generator.tokenizer
    ids = _encoded(request.prompt, tokenizer)
    prepared = model.generator.prepare(replace(request.ask, prompt_ids=ids))
    passage.prompt_tokens = len(ids)
    echo = _text_of(request.prompt, tokenizer) if request.echo else ""
    name = request.model or model.name
    head = Head("text_completion", "cmpl", name, passage.prompt_tokens, model.fingerprint)
    told = request.ask.sampling.top_logprobs is not None
    reply = CompletionReply(head, request.include_usage, echo, told)
    if request.stream:
        await stream(prepared.run(), reply, send, passage)
        return
    piece = await prepared.whole()
    passage.completion_tokens = piece.tokens
    await reply_json(send, 200, reply.whole(piece), [passage.usage])


def read(body: dict[str, Any], defaults: GenerationDefaults = NONE) -> CompletionRequest:
    """The request in `body`, what it leaves out taken from the deployment's `defaults`; its
    system prompt is not for prompts that stand as they are.

    Raises InvalidInput naming what cannot be used.
    """
    parameters = Parameters(filled(body, defaults, "temperature", "top_p", "stop", "max_tokens"))
    parameters.refuse_unknown(_USED | WITHOUT_EFFECT)
    for name in ("n", "best_of"):
        one_answer(parameters, name)
    options = Parameters(parameters.mapping("stream_options"), "stream_options.")
    echo = parameters.boolean("echo") or False
    top = parameters.integer("logprobs", 0, LOGPROBS)
    if echo and top is not None:
        raise bad_parameter("logprobs", "is not given of a prompt, so not together with 'echo'.")
    chosen = sampling(parameters, parameters.number("temperature", 0, 2))
    new_tokens = parameters.integer("max_tokens", 1, 2**31)
    return CompletionRequest(
        Ask(
            messages=(),
            sampling=replace(chosen, top_logprobs=top),
            max_tokens=MAX_TOKENS if new_tokens is None else new_tokens,
            stop=parameters.stop(),
        ),
        prompt=_prompt(parameters, body.get("prompt")),
        model=parameters.text("model"),
        stream=parameters.boolean("stream") or False,
        include_usage=options.boolean("include_usage") or False,
        echo=echo,
    )


def _prompt(parameters: Parameters, value: object) -> str | list[int]:
    """A text, a list of ids, or a list of one of these."""
    if isinstance(value, list) and value and isinstance(value[0], str | list):
        prompts = cast(list[Any], value)
        if len(prompts) > 1:
            raise bad_parameter(
                "prompt", f"has {len(prompts)} prompts; one a request is taken here."
            )
        return _prompt(Parameters({"prompt": prompts[0]}), prompts[0])
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list):
        return parameters.token_ids("prompt")
    raise parameters.bad("prompt", value, "a text or a list of token ids, not empty")


def _encoded(prompt: str | list[int], tokenizer: ChatTokenizer) -> list[int]:
    """The text of control tokens is control tokens here: the prompt is the caller's alone."""
    if not isinstance(prompt, str):
        return prompt
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise bad_parameter("prompt", "is not Unicode: it has half a surrogate pair.") from None
    return tokenizer.encode(prompt, add_special=True)


def _text_of(prompt: str | list[int], tokenizer: ChatTokenizer) -> str:
    return prompt if isinstance(prompt, str) else tokenizer.decode(prompt, skip_special=False)


class CompletionReply:
    """Writes the answer to one request, after the prompt where that is to be echoed."""

    def __init__(self, head: Head, include_usage: bool, echo: str, logprobs: bool) -> None:
        self._head = head
        self._include_usage = include_usage
        self._echo = echo
        self._logprobs = logprobs
        self._offset = len(echo)
        self._ends: tuple[bytes, bytes] | None = None

    def whole(self, piece: Piece) -> dict[str, Any]:
        text = self._echo + piece.text
        return {
            **self._chunk(text, piece.finish_reason, self._told(piece.logprobs)),
            "usage": self._head.usage(piece.tokens),
        }

    def first(self) -> bytes:
        return sse(self._chunk(self._echo, None, None)) if self._echo else b""

    def events(self, piece: Piece) -> bytes:
        parts: list[bytes] = []
        if self._logprobs and (piece.text or piece.logprobs):
            parts.append(sse(self._chunk(piece.text, None, self._told(piece.logprobs))))
        elif piece.text:
            if self._ends is None:
                self._ends = cut(self._chunk(_TEXT, None, None), _TEXT)
            parts.append(filled_in(self._ends, piece.text))
        if piece.finish_reason:
            parts.append(sse(self._chunk("", piece.finish_reason, None)))
            if self._include_usage:
                usage = self._head.usage(piece.tokens)
                parts.append(sse({**self._head.of(), "choices": [], "usage": usage}))
            parts.append(DONE)
        return b"".join(parts)

    def _chunk(
        self, text: str, finish_reason: str | None, logprobs: dict[str, Any] | None
    ) -> dict[str, Any]:
        choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
        return {**self._head.of(), "choices": [choice]}

    def _told(self, told: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        """The older form: four lists side by side."""
        if not self._logprobs:
            return None
        offsets: list[int] = []
        for token in told:
            offsets.append(self._offset)
            self._offset += len(token.text)
        return {
            "tokens": [token.text for token in told],
            "token_logprobs": [token.logprob for token in told],
            "top_logprobs": [{t.text: t.logprob for t in token.top} for token in told],
            "text_offset": offsets,
        }
