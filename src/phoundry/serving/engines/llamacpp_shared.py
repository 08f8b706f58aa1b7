"""Several fine-tunes of one base in one llama.cpp: the base once, a LoRA adapter for each.

llama.cpp takes adapters only when it loads the base. So an adapter that is not there yet starts
another process with all of them; from the moment that it answers, requests go to it, and the one
before ends with its last answer. Nothing is dropped, and nobody waits but the one that is new; for
that time both hold the base and their caches.

Requests with different adapters are never in one batch: llama.cpp decodes them one batch after the
other, so that they share the machine and not the work.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phoundry.errors import ModelError, from_dict
from phoundry.serving.engines.base import Delta, EngineSpec, Feature, SamplingParams
from phoundry.serving.engines.llamacpp import LlamaCppClient
from phoundry.serving.engines.llamacpp_server import to_line
from phoundry.serving.engines.llamacpp_wire import Listener
from phoundry.settings import child_environ

_END_SECONDS = 10.0  # that a process of llama.cpp has to free its memory by itself


@dataclass(eq=False)
class _Host:
    """A process of llama.cpp with some adapters; `users` are the requests that it answers."""

    process: Process
    listener: Listener
    adapters: tuple[Path, ...]
    users: int = 0
    retired: bool = False
    clients: dict[tuple[Path, frozenset[int]], LlamaCppClient] = field(
        default_factory=dict[tuple[Path, frozenset[int]], LlamaCppClient]
    )

    def client(self, adapter: Path, spec: EngineSpec) -> LlamaCppClient:
        key = (adapter, spec.end_token_ids)
        if key not in self.clients:
            scales = [float(each == adapter) for each in self.adapters]
            lora = [{"id": number, "scale": scale} for number, scale in enumerate(scales)]
            self.clients[key] = LlamaCppClient(self.listener, spec, lora)
        return self.clients[key]

    def retire(self) -> None:
        """It gets nothing new, and ends with the last answer."""
        self.retired = True
        self.end_if_idle()

    def end_if_idle(self) -> None:
        if self.retired and not self.users and self.process.stdin is not None:
            self.process.stdin.close()


class SharedLlamaCpp:
    """The base of `spec` in a process of its own, with adapters that come and go.

    `lost` is set when that process has ended though nobody told it to: nothing is answered then.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self._wanted: Counter[Path] = Counter()  # how many engines use each
        self._loading = asyncio.Lock()
        self._host: _Host | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost = asyncio.Event()

    @property
    def adapters(self) -> tuple[Path, ...]:
        """Those that are loaded."""
        return self._host.adapters if self._host else ()

    async def adapted(self, adapter: Path, end_token_ids: frozenset[int]) -> AdaptedEngine:
        """The base with `adapter`, as an engine; closing it gives the adapter back.

        Raises:
            ModelError: llama.cpp cannot load it; what was served before still is.
        """
        self._wanted[adapter] += 1
        try:
            await self._ensure(adapter)
        except BaseException:
            self.leave(adapter)
            raise
        return AdaptedEngine(self, adapter, replace(self.spec, end_token_ids=end_token_ids))

    def leave(self, adapter: Path) -> None:
        """One engine less uses `adapter`. The next process is started without it."""
        self._wanted[adapter] -= 1
        self._wanted += Counter[Path]()  # without those that nobody uses

    @asynccontextmanager
    async def using(self, adapter: Path, spec: EngineSpec) -> AsyncGenerator[LlamaCppClient]:
        """The client of the process in force, which does not end before the block does."""
        host = self._host
        if host is None or self.lost.is_set():
            raise ModelError("llama.cpp stopped answering: its process has ended.")
        host.users += 1
        try:
            yield host.client(adapter, spec)
        finally:
            host.users -= 1
            host.end_if_idle()

    async def close(self) -> None:
        """End the process; what it still answers breaks off."""
        host, self._host = self._host, None
        if host is not None:
            host.users = 0
            host.retire()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_SECONDS)

    async def _ensure(self, adapter: Path) -> None:
        while adapter not in self.adapters:
            async with self._loading:
                if adapter in self.adapters:
                    return
                # Who came while another was loaded is loaded with this one, unless that fails.
                try:
                    await self._load(tuple(self._wanted))
                except ModelError:
                    alone = dict.fromkeys((*self._used(), adapter))
                    if len(alone) == len(self._wanted):
                        raise
                    await self._load(tuple(alone))

    def _used(self) -> list[Path]:
        """Adapters that are loaded, and that somebody uses."""
        return [each for each in self.adapters if each in self._wanted]

    async def _load(self, adapters: tuple[Path, ...]) -> None:
        host = await _start(replace(self.spec, adapters=adapters))
        before, self._host = self._host, host
        if before is not None:
            before.retire()
        task = asyncio.create_task(self._watch(host))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, host: _Host) -> None:
        await host.process.wait()
        if not host.retired:
            self.lost.set()


class AdaptedEngine:
    """One adapter of a `SharedLlamaCpp`. llama.cpp's embeddings know no adapters."""

    features: frozenset[Feature] = frozenset({"logprobs", "json_schema"})

    def __init__(self, shared: SharedLlamaCpp, adapter: Path, spec: EngineSpec) -> None:
        self.context_length = spec.context_length
        self.slots = spec.slots
        self._shared, self._adapter, self._spec = shared, adapter, spec
        self._open = True

    async def generate(
        self, prompt_ids: list[int], params: SamplingParams
    ) -> AsyncGenerator[Delta, None]:
        async with (
            self._shared.using(self._adapter, self._spec) as client,
            aclosing(client.generate(prompt_ids, params)) as deltas,
        ):
            async for delta in deltas:
                yield delta

    async def embed(self, prompt_ids: list[int]) -> list[float]:
        raise ModelError("llama.cpp makes no embeddings with an adapter.")

    async def check(self) -> None:
        async with self._shared.using(self._adapter, self._spec) as client:
            await client.check()

    async def close(self) -> None:
        if self._open:
            self._open = False
            self._shared.leave(self._adapter)


async def _start(spec: EngineSpec) -> _Host:
    """Raises ModelError where llama.cpp cannot load what `spec` names."""
    key = secrets.token_urlsafe(32)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "phoundry.serving.engines.llamacpp_server",
        stdin=PIPE,
        stdout=PIPE,
        env=child_environ(),
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a process was started without its pipes")
    try:
        process.stdin.write(to_line(spec, key))
        line = await process.stdout.readline()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        raise
    if not line:
        raise ModelError(
            f"llama.cpp ended while it loaded {spec.gguf_path} with {len(spec.adapters)} adapters.",
            remedy="The log of the shared process has llama.cpp's reason.",
        )
    told: dict[str, Any] = json.loads(line)
    if "error" in told:
        raise from_dict(told["error"])
    return _Host(process, Listener(told["address"], key), spec.adapters)
