"""vLLM on a GPU: its OpenAI server in a child process, fed token ids.

**Untried.** There was no GPU to run it on: it was written against what vLLM's documentation and
source say of `/v1/completions`, and is tested on a server that speaks that (tests/serving).

vLLM takes ids as a prompt and gives ids back (`return_token_ids`), so text is made of them here, as
for every engine. It needs the checkpoint, not a GGUF. The server listens on loopback with a random
key, which it reads from its environment; of its paths only those under /v1 ask for it.
"""

from __future__ import annotations

import ctypes
import json
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import httpx
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from phoundry.errors import InvalidInput, MissingDependency, ModelError
from phoundry.serving.engines.base import Delta, EngineSpec, Feature, SamplingParams
from phoundry.serving.engines.checkpoint import check_plain, check_unchanged
from phoundry.serving.errors import bad_parameter
from phoundry.settings import child_environ

_NAME = "model"  # what the server calls it
_SERVER = (sys.executable, "-m", "vllm.entrypoints.openai.api_server")
_START_SECONDS = 1800.0  # it loads weights and compiles graphs before it listens
_POLL_SECONDS = 0.2
_OK = 200
_PR_SET_PDEATHSIG = 1  # of prctl
# Nothing is fetched and nobody is told.
_QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


class VllmEngine:
    """A Hugging Face folder in vLLM. Option: `command`, what is run in place of vLLM's server."""

    features: frozenset[Feature] = frozenset()

    def __init__(self, spec: EngineSpec) -> None:
        if spec.checkpoint_dir is None or spec.tokenizer_dir is None:
            raise InvalidInput("The engine vllm needs checkpoint_dir and tokenizer_dir.")
        check_plain(spec.checkpoint_dir)
        check_unchanged(spec.checkpoint_dir, spec.weights, spec.sha256)
        command: Sequence[str] = spec.options.get("command") or _installed()
        self.context_length = spec.context_length
        self.slots = spec.slots
        self._end = spec.end_token_ids
        self._tokenizer = Tokenizer.from_file(str(spec.tokenizer_dir / "tokenizer.json"))
        key, port = secrets.token_urlsafe(32), _free_port()
        self._process = _start(command, spec, spec.checkpoint_dir, port, key)
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(10, read=None),
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )
        try:
            _await_start(self._process, port)
        except BaseException:
            self._process.kill()
            raise

    async def generate(
        self, prompt_ids: list[int], params: SamplingParams
    ) -> AsyncGenerator[Delta, None]:
        for name in ("presence_penalty", "frequency_penalty"):
            if getattr(params, name):  # vLLM's look at the answer alone
                raise bad_parameter(name, "is not supported by the engine vllm.")
        request = _request(prompt_ids, params, self._end)
        text, tokens = DecodeStream(skip_special_tokens=True), 0
        try:
            async with self._client.stream("POST", "/v1/completions", json=request) as answer:
                if answer.status_code != _OK:
                    raise ModelError(f"vLLM refused: {_reason(await answer.aread())}")
                async for line in answer.aiter_lines():
                    if not line.startswith("data: ") or line == "data: [DONE]":
                        continue
                    ids, reason = _chunk(line)
                    for token in ids:
                        if token in self._end:
                            yield Delta("", tokens, (), "stop")
                            return
                        tokens += 1
                        last = "length" if tokens == params.max_tokens else None
                        yield Delta(self._text(text, token), tokens, (token,), last)
                        if last:
                            return
                    if reason:
                        yield Delta("", tokens, (), "length" if reason == "length" else "stop")
                        return
        except httpx.HTTPError as error:
            raise ModelError(f"vLLM stopped answering: {error or type(error).__name__}") from None
        raise ModelError("vLLM ended its answer without a reason.")

    async def embed(self, prompt_ids: list[int]) -> list[float]:
        raise ModelError("The engine vllm makes no embeddings.")

    async def check(self) -> None:
        """vLLM's own page, which asks its engine's process."""
        if self._process.poll() is not None:
            raise ModelError(f"vLLM's process ended with {self._process.returncode}.")
        try:
            answer = await self._client.get("/health")
        except httpx.HTTPError as error:
            raise ModelError(f"vLLM stopped answering: {error}") from None
        if answer.status_code != _OK:
            raise ModelError(f"vLLM says that it is not well: {answer.status_code}.")

    async def close(self) -> None:
        await self._client.aclose()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _text(self, stream: DecodeStream, token: int) -> str:
        try:
            return stream.step(self._tokenizer, token) or ""
        except Exception as error:  # tokenizers raises bare ones
            raise ModelError(f"The answer cannot be read: {error}") from error


def _request(prompt_ids: list[int], params: SamplingParams, end: frozenset[int]) -> dict[str, Any]:
    """Everything is said: vLLM would fill in what the checkpoint's generation_config.json has."""
    return {
        "model": _NAME,
        "prompt": prompt_ids,
        "max_tokens": params.max_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": None if params.seed is None else params.seed % 2**63,
        "stop_token_ids": sorted(end),
        "skip_special_tokens": False,
        "return_token_ids": True,
        "stream": True,
    }


def _chunk(line: str) -> tuple[list[int], str | None]:
    """New ids and the reason of the end, if it is one."""
    event: dict[str, Any] = json.loads(line.removeprefix("data: "))
    if "error" in event:
        raise ModelError(f"vLLM failed: {_reason(line.removeprefix('data: ').encode())}")
    choices: list[dict[str, Any]] = event.get("choices") or []
    if not choices:
        return [], None
    return list(choices[0].get("token_ids") or ()), choices[0].get("finish_reason")


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")


def _installed() -> Sequence[str]:
    import importlib.util

    if importlib.util.find_spec("vllm") is None:
        raise MissingDependency.extra("vllm", "gpu", "The engine vllm")  # noqa: S610
    return _SERVER


def _free_port() -> int:
    """vLLM takes a number, and tells none back."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(
    command: Sequence[str], spec: EngineSpec, folder: Path, port: int, key: str
) -> subprocess.Popen[bytes]:
    """The server; it ends with this process, however that ends."""
    arguments = {
        "--model": str(folder),
        "--served-model-name": _NAME,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--max-model-len": str(spec.context_length),
        "--max-num-seqs": str(spec.slots),
        "--load-format": "safetensors",
        "--generation-config": "vllm",
    }
    told = [part for pair in arguments.items() for part in pair]
    libc = ctypes.CDLL(None)  # vLLM runs on Linux alone

    def end_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return subprocess.Popen(
        [*command, *told],
        stdin=subprocess.DEVNULL,
        env=child_environ() | _QUIET | {"VLLM_API_KEY": key},
        preexec_fn=end_with_parent,  # before any thread of ours
    )


def _await_start(process: subprocess.Popen[bytes], port: int) -> None:
    """Raises ModelError where the server ends, or does not listen in time."""
    end = time.monotonic() + _START_SECONDS
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        while time.monotonic() < end:
            if process.poll() is not None:
                raise ModelError(
                    f"vLLM ended with {process.returncode} before it served anything.",
                    remedy="The log of this replica has its reason; it needs a GPU.",
                )
            try:
                if client.get("/health").status_code == _OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(_POLL_SECONDS)
    raise ModelError(f"vLLM did not listen within {_START_SECONDS:g} s.")
