"""The replica worker: `python -m phoundry.serving.replica RUN_DIR`.

spec.json:

    name             of the deployment, for logs
    engine           "llama.cpp", "transformers"; "fake" in tests
    gguf_path        for llama.cpp
    checkpoint_dir   for transformers
    weights, sha256  its weight files and the SHA-256 that they must have (optional)
    tokenizer_dir    folder with tokenizer.json and chat_template.jinja
    model_name       what answers call themselves when the request names no model
    context_length   tokens of one conversation, the answer included
    slots            requests decoded together
    threads          of the engine
    defaults         what a request that does not say gets (optional; may change while it serves)
    grace_seconds    that requests in flight have to end after SIGTERM (optional; 30)
    memory_bytes     that it is planned with; the control plane's own
    data_collector   what of requests and answers is kept (optional; may change while it serves)
    collect_dir      where (optional): see `replica/collector.py`
    model            what records call the model (optional; else model_name)
    token            bearer that the gateway sends; the spec file is 0600
    options          the engine's own (optional)

It writes ready.json `{port, pid}` once a first generation has succeeded, and serves until SIGTERM.
Events: `started {engine, model_name}`, `ready {port, seconds, context_length, slots}`, `stopping`.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

from phoundry.data import ChatMessage, ChatTokenizer
from phoundry.files import write_json
from phoundry.serving.engines.base import EngineSpec, SamplingParams
from phoundry.serving.engines.registry import open_engine
from phoundry.serving.listen import bind, port_of, run, serve
from phoundry.serving.replica.app import ReplicaApp
from phoundry.serving.replica.collector import Collecting
from phoundry.serving.replica.defaults import LiveDefaults, check
from phoundry.serving.replica.generation import Ask, Generator
from phoundry.serving.replica.model import ServedModel
from phoundry.spool import Spool
from phoundry.version import __version__
from phoundry.worker import main

GRACE_SECONDS = 30


def replica(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """Load, warm up, say so, serve."""
    begun = time.monotonic()
    spool.append("started", engine=spec["engine"], model_name=spec["model_name"])
    tokenizer_dir = Path(spec["tokenizer_dir"])
    tokenizer = ChatTokenizer.load(tokenizer_dir)
    engine_spec = EngineSpec(
        context_length=int(spec["context_length"]),
        slots=int(spec["slots"]),
        threads=int(spec["threads"]),
        end_token_ids=frozenset(tokenizer.end_token_ids),
        gguf_path=_path(spec, "gguf_path"),
        checkpoint_dir=_path(spec, "checkpoint_dir"),
        weights=tuple(spec.get("weights") or ()),
        sha256=spec.get("sha256"),
        tokenizer_dir=tokenizer_dir,
        options=spec.get("options") or {},
    )
    defaults = LiveDefaults(run_dir / "spec.json")
    check(defaults(), tokenizer, engine_spec.context_length)
    generator = Generator(open_engine(spec["engine"], engine_spec), tokenizer)
    model = ServedModel(generator, spec["model_name"], defaults, _fingerprint(spec))
    app = ReplicaApp(model, token=spec["token"])
    collecting = Collecting.of(app, spec, run_dir)
    listener = bind("127.0.0.1", 0)

    async def started() -> None:
        await _warm_up(generator)
        app.ready = True
        port = port_of(listener)
        facts = {"context_length": engine_spec.context_length, "slots": engine_spec.slots}
        spool.append("ready", port=port, seconds=round(time.monotonic() - begun, 3), **facts)
        write_json(run_dir / "ready.json", {"port": port, "pid": os.getpid()})

    async def serving() -> None:
        try:
            await serve(
                collecting,
                listener,
                started=started,
                stopping=lambda: spool.append("stopping"),
                grace_seconds=int(spec.get("grace_seconds") or GRACE_SECONDS),
            )
        finally:
            collecting.close()
            await generator.engine.close()

    run(serving())
    return {}


async def _warm_up(generator: Generator) -> None:
    """One token through the whole path: the first one pays for pages and graphs."""
    ask = Ask([ChatMessage(role="user", content="Hi")], SamplingParams(max_tokens=0), max_tokens=1)
    await generator.prepare(ask).whole()


def _fingerprint(spec: dict[str, Any]) -> str:
    """By what an answer of one seed depends on beside the request: OpenAI's system_fingerprint."""
    names = (
        "engine",
        "gguf_path",
        "checkpoint_dir",
        "sha256",
        "context_length",
        "slots",
        "threads",
    )
    known = [__version__, *(str(spec.get(name)) for name in names)]
    return "fp_" + hashlib.sha256("\n".join(known).encode()).hexdigest()[:10]


def _path(spec: dict[str, Any], key: str) -> Path | None:
    value = spec.get(key)
    return Path(value) if value else None


if __name__ == "__main__":
    main(replica)
