"""OpenVINO GenAI: reads the same GGUF as llama.cpp, and decodes several conversations faster.

Its continuous batching runs where somebody calls `step`: a thread of ours does, takes requests from
a queue before each step and hands on what came of it, of all streams in one call and not after
each step (`pacing`). OpenVINO's reader of GGUF knows Llama and Qwen; other models are llama.cpp's.
"""

from __future__ import annotations

import asyncio
import importlib
import secrets
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from phoundry.errors import InvalidInput, ModelError
from phoundry.serving.engines.base import Delta, EngineSpec, Feature, FinishReason, SamplingParams
from phoundry.serving.engines.openvino_pipeline import open_pipeline
from phoundry.serving.engines.pacing import pause
from phoundry.serving.errors import bad_parameter

_SILENT_SECONDS = 300  # for one step: longer than the longest prompt takes a small machine
_ALL = 2**31 - 1  # tokens that top-k keeps where it is not asked for


@dataclass(slots=True, eq=False)
class _Request:
    """A generation, and the loop and queue that wait for it. `handle` is the pipeline's."""

    prompt_ids: list[int]
    params: SamplingParams
    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[list[int] | Exception | None]
    handle: Any = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    held: list[int] = field(default_factory=list[int])  # tokens that nobody was told of
    begun: bool = False  # its first token has been told

    @property
    def at_once(self) -> bool:
        """Whether what it holds waits for no look."""
        return not (self.begun or self.whole)

    @property
    def whole(self) -> bool:
        """Whether it is enough to tell the end. Before a stop string it may end earlier."""
        return self.params.whole and not self.params.stop

    def take(self) -> list[int]:
        held, self.held = self.held, []
        self.begun = True
        return held


_Told = tuple[_Request, list[int] | Exception | None]


def _tell(told: Iterable[_Told]) -> None:
    """From the engine's thread: wake each loop once, for all that it is told."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Told]] = {}
    for each in told:
        by_loop.setdefault(each[0].loop, []).append(each)
    for loop, own in by_loop.items():
        loop.call_soon_threadsafe(_put, own)


def _put(told: list[_Told]) -> None:
    for request, item in told:
        request.queue.put_nowait(item)


class OpenVinoEngine:
    """A GGUF file in OpenVINO GenAI. Memory: the weights, slots * context_length tokens of KV."""

    features: frozenset[Feature] = frozenset()

    def __init__(self, spec: EngineSpec) -> None:
        if spec.gguf_path is None or spec.tokenizer_dir is None:
            raise InvalidInput("The engine openvino needs gguf_path and tokenizer_dir.")
        if not spec.gguf_path.is_file():
            raise ModelError(f"There is no model file {spec.gguf_path}.")
        self.context_length = spec.context_length
        self.slots = spec.slots
        self._end = spec.end_token_ids
        self._tokenizer = Tokenizer.from_file(str(spec.tokenizer_dir / "tokenizer.json"))
        opened: tuple[Any, Any] = open_pipeline(spec)
        self._library: Any = opened[0]
        self._pipeline: Any = opened[1]
        self._asked: deque[_Request] = deque()
        self._work = threading.Condition()
        self._closed = False
        self._step_at: float | None = None  # when the step under way was begun
        self._next_look = 0.0  # of time.monotonic()
        self._thread = threading.Thread(target=self._run, name="openvino", daemon=True)
        self._thread.start()

    async def generate(
        self, prompt_ids: list[int], params: SamplingParams
    ) -> AsyncGenerator[Delta, None]:
        for name in ("presence_penalty", "frequency_penalty"):
            if getattr(params, name):
                raise bad_parameter(name, "is not supported by the engine openvino.")
        request = _Request(prompt_ids, params, asyncio.get_running_loop(), asyncio.Queue())
        self._ask(request)
        text, tokens = DecodeStream(skip_special_tokens=True), 0
        try:
            while (found := await request.queue.get()) is not None:
                if isinstance(found, Exception):
                    raise ModelError(f"OpenVINO failed: {found}") from found
                delta = self._delta(text, found, tokens, params.max_tokens)
                tokens = delta.tokens
                yield delta
                if delta.finish_reason:
                    return
            raise ModelError("OpenVINO ended its answer without a reason.")
        finally:
            request.cancelled.set()

    def _delta(self, text: DecodeStream, found: list[int], before: int, most: int) -> Delta:
        """The tokens in `found` as one; `before` have been told, `most` are wanted."""
        pieces: list[str] = []
        reason: FinishReason | None = None
        for token in found:
            if token in self._end:
                reason = "stop"
                break
            pieces.append(_decoded(text, self._tokenizer, token))
            if before + len(pieces) == most:
                reason = "length"
                break
        count = len(pieces)
        return Delta("".join(pieces), before + count, tuple(found[:count]), reason)

    async def embed(self, prompt_ids: list[int]) -> list[float]:
        raise ModelError("The engine openvino makes no embeddings.")

    async def check(self) -> None:
        """Raise ModelError where a step has taken too long, or the thread has ended."""
        begun = self._step_at
        if begun is not None and time.monotonic() - begun > _SILENT_SECONDS:
            raise ModelError("OpenVINO has been at one step for minutes.")
        if not self._thread.is_alive():
            raise ModelError("OpenVINO's thread has ended.")

    async def close(self) -> None:
        with self._work:
            self._closed = True
            self._work.notify()
        await asyncio.to_thread(self._thread.join)
        self._pipeline = None

    def _ask(self, request: _Request) -> None:
        with self._work:
            if self._closed:
                raise ModelError("The engine openvino is closed.")
            self._asked.append(request)
            self._work.notify()

    def _run(self) -> None:
        """The thread: begins what is asked for, steps, and hands tokens on."""
        running: list[_Request] = []
        number = 0
        while True:
            with self._work:
                while not (self._asked or running or self._closed):
                    self._work.wait()
                if self._closed:
                    break
                fresh = list(self._asked)
                self._asked.clear()
            for request in fresh:
                number += 1
                try:
                    request.handle = self._begin(number, request)
                except Exception as error:  # noqa: BLE001 - of a compiled library; only its own
                    _tell([(request, error)])
                else:
                    running.append(request)
            try:
                self._step(running)
            except Exception as error:  # noqa: BLE001 - of a compiled library; nobody else hears it
                self._end_all(running, error)
        self._end_all([*running, *self._asked], None)

    def _end_all(self, running: list[_Request], error: Exception | None) -> None:
        """Tell each, and give its place in the pipeline back: no one reads it any more."""
        _tell([(request, error) for request in running])
        for request in running:
            if request.handle is not None:
                with suppress(Exception):  # a pipeline that has failed may fail at this, too
                    request.handle.cancel()
        running.clear()

    def _begin(self, number: int, request: _Request) -> Any:
        import numpy

        tensor: Any = importlib.import_module("openvino").Tensor
        ids = tensor(numpy.array([request.prompt_ids], dtype=numpy.int64))
        return self._pipeline.add_request(number, ids, self._config(request.params))

    def _step(self, running: list[_Request]) -> None:
        for request in running:
            if request.cancelled.is_set():
                request.handle.cancel()
        self._step_at = time.monotonic()
        try:
            if self._pipeline.has_non_finished_requests():
                self._pipeline.step()
        finally:
            self._step_at = None
        self._hand_on(running)

    def _hand_on(self, running: list[_Request]) -> None:
        """Tell of first tokens and of ends at once, of the others at the next look."""
        alive = self._library.GenerationStatus.RUNNING
        now = time.monotonic()
        look = now >= self._next_look
        if look:
            self._next_look = now + pause(len(running))
        told: list[_Told] = []
        for request in list(running):
            ended = request.handle.get_status() != alive
            while request.handle.can_read():
                for output in request.handle.read().values():
                    request.held += output.generated_ids
            if request.held and (ended or request.at_once or (look and not request.whole)):
                told.append((request, request.take()))
            if ended:
                running.remove(request)
                told.append((request, None))
        if told:
            _tell(told)

    def _config(self, params: SamplingParams) -> Any:
        config = self._library.GenerationConfig()
        config.max_new_tokens = params.max_tokens
        config.stop_token_ids = set(self._end)
        config.apply_chat_template = False
        config.do_sample = params.temperature > 0
        if config.do_sample:
            config.temperature = params.temperature
            config.top_p = params.top_p
            config.top_k = params.top_k or _ALL
            seed = secrets.randbits(63) if params.seed is None else params.seed % 2**63
            config.rng_seed = seed
        return config


def _decoded(text: DecodeStream, tokenizer: Tokenizer, token: int) -> str:
    """What `token` adds. Raises ModelError where its bytes cannot follow those before."""
    try:
        return text.step(tokenizer, token) or ""
    except Exception as error:  # tokenizers raises bare ones
        raise ModelError(f"The answer cannot be read: {error}") from error
