"""Who is asked: our endpoint, the bare engine, and transformers, each in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.serve.load import Answered, Round, play, request
from phoundry.data import ChatMessage, ChatTokenizer
from phoundry.files import PRIVATE, read_json, write_json
from phoundry.serving.gateway.auth import hash_key
from phoundry.serving.gateway.routes import (
    DeploymentRoute,
    EndpointRoute,
    ReplicaRoute,
    RoutingTable,
    write_routes,
)

KEY, TOKEN = "key-of-the-benchmark", "token-of-the-benchmark"
START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Served:
    """What both sides serve, with the same settings."""

    gguf: Path
    tokenizer_dir: Path
    context_length: int
    slots: int
    threads: int

    def spec(self) -> dict[str, Any]:
        return {
            "gguf_path": str(self.gguf),
            "context_length": self.context_length,
            "slots": self.slots,
            "threads": self.threads,
        }


@dataclass(frozen=True, slots=True)
class Questions:
    """Single questions, and the token ids that the chat template makes of each."""

    texts: list[str]
    ids: list[list[int]]

    @classmethod
    def of(cls, texts: list[str], tokenizer: ChatTokenizer) -> Questions:
        ask = [[ChatMessage(role="user", content=text)] for text in texts]
        return cls(texts, [tokenizer.render_prompt(messages) for messages in ask])

    def share(self, streams: int, each: int, begin: int) -> list[list[int]]:
        """Numbers of the questions of each client; a later round begins elsewhere."""
        numbers = [(begin + i) % len(self.texts) for i in range(streams * each)]
        return [numbers[i * each : (i + 1) * each] for i in range(streams)]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Our endpoint, asked as OpenAI's clients ask."""

    port: int
    questions: Questions
    name: str = "endpoint"

    async def play(self, shares: Sequence[Sequence[int]], max_tokens: int) -> Round:
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"

        def ask(number: int) -> bytes:
            body = {
                "model": "faq",
                "messages": [{"role": "user", "content": self.questions.texts[number]}],
                "max_tokens": max_tokens,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            return request(url, KEY, body)

        return await play(url, [[ask(number) for number in own] for own in shares])


@dataclass(frozen=True, slots=True)
class Bare:
    """llama.cpp's server, asked with token ids: no template, no key, no limit in between."""

    address: str
    key: str
    questions: Questions
    name: str = "bare engine"

    async def play(self, shares: Sequence[Sequence[int]], max_tokens: int) -> Round:
        url = f"{self.address}/completion"

        def ask(number: int) -> bytes:
            body = {
                "prompt": self.questions.ids[number],
                "n_predict": max_tokens,
                "temperature": 0.0,
                "stream": True,
                "response_fields": ["stop", "tokens_predicted"],
            }
            return request(url, self.key, body)

        return await play(url, [[ask(number) for number in own] for own in shares])


class BareOpenVino:
    """OpenVINO GenAI over pipes: all clients of a round in one message."""

    name = "bare openvino"

    def __init__(self, process: subprocess.Popen[str], questions: Questions) -> None:
        self._process, self._questions = process, questions
        _line_of(process)

    async def play(self, shares: Sequence[Sequence[int]], max_tokens: int) -> Round:
        ids = [[self._questions.ids[number] for number in own] for own in shares]
        told = _asked(self._process, {"clients": ids, "max_tokens": max_tokens})
        seconds = float(told["seconds"])
        return Round([Answered(int(told["tokens"]), seconds, seconds)], seconds)


class Reference:
    """transformers' generate over pipes."""

    name = "transformers"

    def __init__(self, process: subprocess.Popen[str], questions: Questions) -> None:
        self._process, self._questions = process, questions
        self.dtype: str = _line_of(process)["dtype"]

    def rate(self, numbers: Sequence[int], max_tokens: int) -> float:
        """Tokens a second of these questions as one batch."""
        ids = [self._questions.ids[number] for number in numbers]
        answer = _asked(self._process, {"prompts": ids, "max_tokens": max_tokens})
        return answer["tokens"] / answer["seconds"]


def _asked(process: subprocess.Popen[str], question: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(question), file=cast(IO[str], process.stdin), flush=True)
    return _line_of(process)


def _line_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    line = cast(IO[str], process.stdout).readline()
    if not line:
        raise SystemExit(f"{process.args} ended before it answered")
    return json.loads(line)


@contextmanager
def running(
    *words: str, cwd: Path, pipes: bool = False, environ: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[str]]:
    """`python -m words` until the block ends; its messages are kept in `cwd`."""
    pipe = subprocess.PIPE if pipes else None
    with (cwd / f"{words[0]}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            stdin=pipe,
            stdout=pipe or log,
            stderr=log,
            text=True,
            env=environ,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def endpoint(
    served: Served,
    questions: Questions,
    folder: Path,
    *,
    engine: str = "llama.cpp",
    environ: Mapping[str, str] | None = None,
) -> Generator[Endpoint]:
    """A gateway and one replica, told what the control plane tells them.

    Args:
        environ: of the replica, which has to find its engine.
    """
    replica, gateway = folder / "replica", folder / "gateway"
    for place in (replica, gateway):
        place.mkdir(parents=True)
    told = {
        **served.spec(),
        "name": "faq/blue",
        "engine": engine,
        "tokenizer_dir": str(served.tokenizer_dir),
        "model_name": "faq",
        "token": TOKEN,
    }
    write_json(replica / "spec.json", told, mode=PRIVATE)
    words = ("phoundry.serving.replica", str(replica))
    with running(*words, cwd=folder, environ=environ) as process:
        port = _ready(replica, process)
        route = ReplicaRoute(f"http://127.0.0.1:{port}", TOKEN)
        blue = DeploymentRoute([route], max_concurrent=64)
        faq = EndpointRoute([hash_key(KEY)], {"blue": 100}, {"blue": blue})
        write_routes(gateway / "routes.json", RoutingTable(1, {"faq": faq}))
        spec = {"host": "127.0.0.1", "port": 0, "routes_path": str(gateway / "routes.json")}
        write_json(gateway / "spec.json", spec)
        with running("phoundry.serving.gateway", str(gateway), cwd=folder) as other:
            yield Endpoint(_ready(gateway, other), questions)


@contextmanager
def bare(served: Served, questions: Questions, folder: Path) -> Generator[Bare]:
    folder.mkdir(parents=True)
    spec = folder / "spec.json"
    write_json(spec, served.spec())
    with running("benchmarks.serve.bare", str(spec), cwd=folder, pipes=True) as process:
        told = _line_of(process)
        yield Bare(told["address"], told["key"], questions)


@contextmanager
def bare_openvino(
    served: Served, questions: Questions, folder: Path, environ: Mapping[str, str]
) -> Generator[BareOpenVino]:
    folder.mkdir(parents=True)
    spec = folder / "spec.json"
    ends = sorted(ChatTokenizer.load(served.tokenizer_dir).end_token_ids)
    write_json(spec, {**served.spec(), "end_token_ids": ends})
    words = ("benchmarks.serve.bare_openvino", str(spec))
    with running(*words, cwd=folder, pipes=True, environ=environ) as process:
        yield BareOpenVino(process, questions)


@contextmanager
def reference(
    checkpoint: Path, threads: int, questions: Questions, folder: Path
) -> Generator[Reference]:
    folder.mkdir(parents=True)
    words = ("benchmarks.serve.reference", str(checkpoint), str(threads))
    with running(*words, cwd=folder, pipes=True) as process:
        yield Reference(process, questions)


def _ready(folder: Path, process: subprocess.Popen[str]) -> int:
    """The port in ready.json, once it is there; ends the benchmark where the process ends."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if found := read_json(folder / "ready.json"):
            return int(found["port"])
        time.sleep(0.05)
    raise SystemExit(f"{process.args} did not come up; its log is in {folder.parent}")
