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
from phoundry.serving.errors import bad_parameter
from phoundry.serving.replica.generation import Ask
from phoundry.serving.replica.parameters import Parameters, sampling

_PARAMETERS = frozenset(
    {"temperature", "top_p", "top_k", "max_new_tokens", "do_sample", "return_full_text"}
    | {"seed", "stop", "presence_penalty", "frequency_penalty"}
)


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    ask: Ask
    return_full_text: bool


def read(body: dict[str, Any]) -> ScoreRequest:
    """The request in `body`. Raises InvalidInput naming what cannot be used.

    `do_sample` false is greedy whatever the temperature; true without a temperature samples at 1;
    left out, the temperature decides, and without one the answer is greedy.
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
    parameters = Parameters(data.mapping("parameters"))
    parameters.refuse_unknown(_PARAMETERS)
    temperature = parameters.number("temperature", 0, 2)
    do_sample = parameters.boolean("do_sample")
    if do_sample is False:
        temperature = 0.0
    elif do_sample and temperature == 0:
        raise bad_parameter("temperature", "is 0 and do_sample is true; sampling needs more.")
    elif do_sample and temperature is None:
        temperature = 1.0
    return ScoreRequest(
        Ask(
            messages=data.messages("input_string"),
            sampling=sampling(parameters, temperature),
            max_tokens=parameters.integer("max_new_tokens", 1, 2**31),
            max_tokens_name="max_new_tokens",
            stop=parameters.stop(),
        ),
        return_full_text=parameters.boolean("return_full_text") or False,
    )
