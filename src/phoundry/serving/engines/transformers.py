"""The reference engine: Hugging Face transformers, one conversation at a time.

Slow on a CPU and exact: what the other engines are compared with. Safetensors only, and never a
checkpoint's own code.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from transformers import DynamicCache

from phoundry.errors import InvalidInput, ModelError
from phoundry.serving.engines.base import Delta, EngineSpec, Feature, SamplingParams
from phoundry.serving.engines.checkpoint import check_unchanged, load_model
from phoundry.serving.engines.sampling import choose, likelihood

_SILENT_SECONDS = 300  # for one token: longer than the longest prompt takes a small machine


class TransformersEngine:
    """A Hugging Face folder in torch. Options: `dtype` ("auto": as the checkpoint has it)."""

    features: frozenset[Feature] = frozenset({"logprobs", "embeddings"})

    def __init__(self, spec: EngineSpec) -> None:
        if spec.checkpoint_dir is None or spec.tokenizer_dir is None:
            raise InvalidInput("The engine transformers needs checkpoint_dir and tokenizer_dir.")
        self.context_length = spec.context_length
        self.slots = 1
        self._end = spec.end_token_ids
        check_unchanged(spec.checkpoint_dir, spec.weights, spec.sha256)
        torch.set_num_threads(spec.threads)
        self._model: Any = load_model(spec.checkpoint_dir, str(spec.options.get("dtype", "auto")))
        self._tokenizer = Tokenizer.from_file(str(spec.tokenizer_dir / "tokenizer.json"))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="transformers")
        self._step_at = time.monotonic()  # when a token was last begun
        self._busy = False

    async def generate(
        self, prompt_ids: list[int], params: SamplingParams
    ) -> AsyncGenerator[Delta, None]:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Delta | Exception] = asyncio.Queue()
        stop = threading.Event()

        def emit(item: Delta | Exception) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, item)

        work = loop.run_in_executor(self._thread, self._decode, prompt_ids, params, stop, emit)
        try:
            while True:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise ModelError(f"transformers failed: {item}") from item
                yield item
                if item.finish_reason:
                    return
        finally:
            stop.set()
            work.cancel()  # it has not begun; else the event ends it at the next token

    async def embed(self, prompt_ids: list[int]) -> list[float]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._embed, prompt_ids)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ModelError(f"transformers failed: {error}") from error

    async def check(self) -> None:
        """A generation holds the thread to its end, so a busy one is asked for its last token."""
        if self._busy:
            silent = time.monotonic() - self._step_at
            if silent > _SILENT_SECONDS:
                raise ModelError(f"transformers has been at one token for {silent:.0f} s.")
            return
        await asyncio.get_running_loop().run_in_executor(self._thread, time.monotonic)

    async def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._model = None

    def _decode(
        self,
        prompt_ids: list[int],
        params: SamplingParams,
        stop: threading.Event,
        emit: Callable[[Delta | Exception], None],
    ) -> None:
        """Runs on the engine's thread. An error is handed over, so that no caller waits forever."""
        self._busy, self._step_at = True, time.monotonic()
        try:
            with torch.inference_mode():
                self._steps(prompt_ids, params, stop, emit)
        except Exception as error:  # noqa: BLE001 - tokenizers raises bare ones; nobody else hears it
            emit(error)
        finally:
            self._busy = False

    def _embed(self, prompt_ids: list[int]) -> list[float]:
        """The last hidden state of the last token, `(hidden,)`, of length 1: as llama.cpp pools a
        causal model."""
        with torch.inference_mode():
            output = self._model.base_model(input_ids=torch.tensor([prompt_ids]), use_cache=False)
            state = output.last_hidden_state[0, -1].float()
            normalised: Any = torch.nn.functional.normalize(state, dim=0)
            return normalised.tolist()

    def _steps(
        self,
        prompt_ids: list[int],
        params: SamplingParams,
        stop: threading.Event,
        emit: Callable[[Delta | Exception], None],
    ) -> None:
        generator = torch.Generator()
        if params.seed is None:
            generator.seed()
        else:
            generator.manual_seed(params.seed % 2**63)
        text = DecodeStream(skip_special_tokens=True)
        cache = DynamicCache(config=self._model.config)
        seen = list(prompt_ids)
        step = torch.tensor([prompt_ids])  # (1, length), then (1, 1)
        for count in range(1, params.max_tokens + 1):
            if stop.is_set():
                return
            self._step_at = time.monotonic()
            output = self._model(
                input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1
            )
            logits = output.logits[0, -1].float()  # (vocab,)
            token = choose(logits, seen, params, generator)
            if token in self._end:
                emit(Delta("", count - 1, (), "stop"))
                return
            seen.append(token)
            step = torch.tensor([[token]])
            piece = text.step(self._tokenizer, token) or ""
            last = count == params.max_tokens
            told = likelihood(self._tokenizer, logits, token, params.top_logprobs)
            emit(Delta(piece, count, (token,), "length" if last else None, told))
