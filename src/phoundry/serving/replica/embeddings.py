"""OpenAI's embeddings, where the engine gives them."""

from __future__ import annotations

import base64
import struct
from typing import Any, cast

from phoundry.serving.asgi import Send, reply_json
from phoundry.serving.errors import bad_parameter
from phoundry.serving.replica.metrics import Passage
from phoundry.serving.replica.model import ServedModel
from phoundry.serving.replica.parameters import Parameters

INPUTS = 256  # a request

_USED = frozenset({"model", "input", "encoding_format", "dimensions", "user"})


async def embed(model: ServedModel, body: dict[str, Any], send: Send, passage: Passage) -> None:
    """Answer one request. The vectors have the length 1."""
    parameters = Parameters(body)
    parameters.refuse_unknown(_USED)
    engine = model.generator.engine
    if "embeddings" not in engine.features:
        raise bad_parameter("model", "makes no embeddings: the engine of this deployment has none.")
    form = parameters.text("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise bad_parameter("encoding_format", f"is {form!r}; known are 'float' and 'base64'.")
    texts = [_ids(model, text, place) for place, text in _inputs(parameters, body.get("input"))]
    passage.prompt_tokens = sum(map(len, texts))
    vectors = [await engine.embed(ids) for ids in texts]
    _check_dimensions(parameters, len(vectors[0]))
    data = [
        {"object": "embedding", "index": index, "embedding": _written(vector, form)}
        for index, vector in enumerate(vectors)
    ]
    answer = {
        "object": "list",
        "data": data,
        "model": parameters.text("model") or model.name,
        "usage": {"prompt_tokens": passage.prompt_tokens, "total_tokens": passage.prompt_tokens},
    }
    await reply_json(send, 200, answer, [passage.usage])


def _inputs(parameters: Parameters, value: object) -> list[tuple[str, Any]]:
    """Every text, or list of ids, with its place in the request."""
    if isinstance(value, list) and value and isinstance(value[0], str | list):
        several = cast(list[Any], value)
        if len(several) > INPUTS:
            raise bad_parameter("input", f"has {len(several)} texts; at most {INPUTS} are taken.")
        return [(f"input[{index}]", text) for index, text in enumerate(several)]
    if value is None or value == "" or value == []:
        raise parameters.bad(
            "input", cast(object, value), "a text, a list of texts, or of token ids"
        )
    return [("input", value)]


def _ids(model: ServedModel, text: Any, place: str) -> list[int]:
    """Ids of a text as the model reads one; a control token in it is the caller's own."""
    tokenizer = model.generator.tokenizer
    if isinstance(text, str) and text:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise bad_parameter(place, "is not Unicode: it has half a surrogate pair.") from None
        ids = tokenizer.encode(text, add_special=True)
    else:
        ids = Parameters({place: text}).token_ids(place)
        if max(ids) > tokenizer.highest_id:
            raise bad_parameter(place, f"has a token id above {tokenizer.highest_id:,}.")
    context = model.generator.engine.context_length
    if len(ids) >= context:
        raise bad_parameter(
            place,
            f"has {len(ids):,} tokens; the context of this deployment is {context:,} tokens, one "
            "of which stays free.",
        )
    return ids


def _check_dimensions(parameters: Parameters, found: int) -> None:
    asked = parameters.integer("dimensions", 1, 2**31)
    if asked not in (None, found):
        raise bad_parameter("dimensions", f"is {asked:,}; this model's embeddings have {found:,}.")


def _written(vector: list[float], form: str) -> list[float] | str:
    """base64: little-endian float32, as OpenAI's package asks for by default."""
    if form == "float":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
