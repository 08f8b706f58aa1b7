"""Azure's dialect: the request and reply of the tutorial's fine-tuned chat model.

{"input_data": {"input_string": [{"role", "content"}, …],
                "parameters": {"temperature", "top_p", "max_new_tokens", "do_sample",
                               "return_full_text"}}}
→ {"output": "…"}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from phoundry.errors import InvalidInput
from phoundry.serving.asgi import Send, reply_json
from phoundry.serving.errors import bad_parameter
from phoundry.serving.replica.defaults import NONE, filled, with_system
from phoundry.serving.replica.generation import Ask
from phoundry.serving.replica.metrics import Passage
from phoundry.serving.replica.model import ServedModel
from phoundry.serving.replica.parameters import Parameters, sampling
from phoundry.specs.deployment import GenerationDefaults

_PARAMETERS = frozenset(
    {"temperature", "top_p", "top_k", "max_new_tokens", "do_sample", "return_full_text"}
    | {"seed", "stop", "presence_penalty", "frequency_penalty"}
)


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    ask: Ask
    return_full_text: bool


async def score(model: ServedModel, body: dict[str, Any], send: Send, passage: Passage) -> None:
    """Answer one request."""
    request = read(body, model.defaults())
    prepared = model.generator.prepare(request.ask)
    passage.prompt_tokens = len(prepared.prompt_ids)
    piece = await prepared.whole()
    passage.completion_tokens = piece.tokens
    answer = piece.text
    if request.return_full_text:
        answer = model.generator.tokenizer.decode(prepared.prompt_ids) + answer
    await reply_json(send, 200, {"output": answer}, [passage.usage])


def read(body: dict[str, Any], defaults: GenerationDefaults = NONE) -> ScoreRequest:
    """The request in `body`, what it leaves out taken from the deployment's `defaults`.

    `do_sample` false is greedy whatever the temperature; true without a temperature (of the request
    or of the deployment) samples at 1; left out, the temperature decides, and without one the
    answer is greedy.

    Raises InvalidInput naming what cannot be used.
    """
    if "input_data" not in body:
        raise InvalidInput(
            "The body has no 'input_data'.",
            remedy='Send {"input_data": {"input_string": [{"role": "user", "content": "…"}]}}.',
        )
    top = Parameters(body)
    top.refuse_unknown(frozenset({"input_data"}))
    data = Parameters(top.mapping("input_data"), "input_data.")
    data.refuse_unknown(frozenset({"input_string", "parameters"}))
    parameters = Parameters(filled(data.mapping("parameters"), defaults, "top_p", "stop"))
    parameters.refuse_unknown(_PARAMETERS)
    new_tokens = parameters.integer("max_new_tokens", 1, 2**31)
    return ScoreRequest(
        Ask(
            messages=with_system(data.messages("input_string"), defaults),
            sampling=sampling(parameters, _temperature(parameters, defaults)),
            max_tokens=defaults.max_tokens if new_tokens is None else new_tokens,
            max_tokens_name="max_new_tokens",
            stop=parameters.stop(),
        ),
        return_full_text=parameters.boolean("return_full_text") or False,
    )


def _temperature(parameters: Parameters, defaults: GenerationDefaults) -> float:
    asked = parameters.number("temperature", 0, 2)
    do_sample = parameters.boolean("do_sample")
    if do_sample is False:
        return 0.0
    if do_sample and asked == 0:
        raise bad_parameter("temperature", "is 0 and do_sample is true; sampling needs more.")
    temperature = defaults.temperature if asked is None else asked
    return temperature or (1.0 if do_sample else 0.0)
