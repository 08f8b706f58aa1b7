"""llama.cpp as the reference for what was converted: log-probabilities of the next token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Llama:
    """A GGUF file loaded by xllamacpp. Prompts are token ids."""

    def __init__(self, path: Path, context: int = 256, adapters: Sequence[Path] = ()) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel, params.verbosity = context, 1, 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.warmup = False
        params.no_perf = True
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(each)) for each in adapters]
        self._server = xllamacpp.Server(params)

    def complete(self, prompt: list[int] | str, count: int, probabilities: int = 1) -> Any:
        """OpenAI's reply to a greedy completion of at most `count` tokens."""
        request = {
            "prompt": prompt,
            "n_predict": count,
            "temperature": 0.0,
            "n_probs": probabilities,
            "cache_prompt": False,
        }
        found: list[Any] = []

        def take(reply: Any) -> bool:
            found.append(reply)
            return False

        reply = self._server.handle_completions(request, take) or found[-1]
        if "choices" not in reply:
            raise AssertionError(reply)
        return reply

    def next_logprobs(self, prompt: list[int], size: int) -> dict[int, float]:
        """Natural log-probabilities after `prompt` of the `size` likeliest tokens, best first.

        Empty where the likeliest one is a part of a character, of which llama.cpp tells nothing.
        """
        (choice,) = self.complete(prompt, 1, size)["choices"]
        if not choice["logprobs"]:
            return {}
        (position,) = choice["logprobs"]["content"]
        return {entry["id"]: entry["logprob"] for entry in position["top_logprobs"]}
