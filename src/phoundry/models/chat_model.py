"""A registered model's answers. MLflow runs this file from the model's own folder.

It stands alone: it imports nothing of Phoundry, reads the checkpoint beside it, and unpickles
nothing, so that a model can be loaded wherever mlflow, torch and transformers are installed.

    model = mlflow.pyfunc.load_model("models:/faq/1")
    model.predict({"messages": [{"role": "user", "content": "…"}]})

takes OpenAI's request for a chat completion and answers with OpenAI's reply (several rows: a list
of replies). Without `temperature` the likeliest answer is given, as Phoundry's endpoints do.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.models import set_model  # type: ignore[reportUnknownVariableType]
from mlflow.pyfunc.model import PythonModel

MAX_TOKENS = 512


class ChatModel(PythonModel):
    """Loads `artifacts/checkpoint` of the model's folder with transformers."""

    # The signature is in MLmodel; type hints on the input would make MLflow derive another one.
    _skip_type_hint_validation = True

    def load_context(self, context: Any) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = Path(context.artifacts["checkpoint"])
        safe: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **safe)
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", use_safetensors=True, **safe
        ).eval()
        settings: dict[str, Any] = context.model_config or {}
        self._name = str(settings.get("model", folder.name))
        self._ends = _end_ids(folder, self._tokenizer)
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self._add_bos = config.get("add_bos_token") is True

    def predict(self, context: Any, model_input, params=None):  # type: ignore[no-untyped-def]
        """One reply for one request; a list of replies for several."""
        replies = [
            self._answer({**(params or {}), **request}) for request in _requests(model_input)
        ]
        return replies[0] if len(replies) == 1 else replies

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        import torch
        from transformers import GenerationConfig

        prompt = self._prompt(request["messages"])
        room = int(self._model.config.max_position_embeddings) - len(prompt)
        if room < 1:
            raise ValueError(
                f"The conversation has {len(prompt)} tokens; the model takes "
                f"{self._model.config.max_position_embeddings} with the answer. Send fewer turns."
            )
        temperature = float(request.get("temperature") or 0)
        sampling: dict[str, Any] = {"do_sample": False}
        if temperature > 0:
            top_p = float(request.get("top_p") or 1)
            sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
        stop = request.get("stop")
        stops = [stop] if isinstance(stop, str) else [str(each) for each in stop or ()]
        limit = min(int(request.get("max_tokens") or MAX_TOKENS), room)
        settings = GenerationConfig(
            max_new_tokens=limit, eos_token_id=self._ends, pad_token_id=self._ends[0], **sampling
        )
        until: dict[str, Any] = {"stop_strings": stops, "tokenizer": self._tokenizer}
        with torch.inference_mode():
            ids = torch.tensor([prompt])
            output = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                generation_config=settings,
                **(until if stops else {}),
            )
        answer: list[int] = output[0, len(prompt) :].tolist()
        return self._reply(prompt, answer, stops, limit)

    def _prompt(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        turns = [
            {"role": str(each["role"]), "content": str(each.get("content") or "")}
            for each in messages
        ]
        added = self._tokenizer.added_tokens_decoder.values()
        control = [str(token) for token in added if token.special]
        for place, turn in enumerate(turns):
            if found := [token for token in control if token in turn["content"]]:
                raise ValueError(
                    f"messages[{place}] holds the control token {found[0]} as text. Remove it."
                )
        text = self._tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        bos = self._tokenizer.bos_token_id
        return [bos, *ids] if self._add_bos and bos is not None and ids[:1] != [bos] else ids

    def _reply(
        self, prompt: list[int], answer: list[int], stops: Sequence[str], limit: int
    ) -> dict[str, Any]:
        text: str = self._tokenizer.decode(
            answer, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        cuts = [at for stop in stops if (at := text.find(stop)) >= 0]
        ended = bool(cuts) or (bool(answer) and answer[-1] in self._ends)
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self._name,
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": text[: min(cuts)] if cuts else text,
                    },
                    "finish_reason": "stop" if ended or len(answer) < limit else "length",
                }
            ],
            "usage": {
                "prompt_tokens": len(prompt),
                "completion_tokens": len(answer),
                "total_tokens": len(prompt) + len(answer),
            },
        }


def _requests(model_input: Any) -> list[dict[str, Any]]:
    """Rows of a table, a list of requests, or one request, without the values that are missing."""
    rows: list[Any]
    if hasattr(model_input, "to_dict"):
        rows = model_input.to_dict(orient="records")
    else:
        rows = list(model_input) if isinstance(model_input, list) else [model_input]  # type: ignore[reportUnknownArgumentType]
    # NaN is the one value that differs from itself.
    return [
        {key: value for key, value in row.items() if value is not None and value is value}
        for row in rows
    ]


def _end_ids(folder: Path, tokenizer: Any) -> list[int]:
    """Ids that end an answer."""
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        ends: Any = (
            json.loads(path.read_text("utf-8")).get("eos_token_id") if path.exists() else None
        )
        if ends is not None:
            return list(ends) if isinstance(ends, list) else [int(ends)]  # type: ignore[reportUnknownArgumentType]
    return [int(tokenizer.eos_token_id)]


set_model(ChatModel())
