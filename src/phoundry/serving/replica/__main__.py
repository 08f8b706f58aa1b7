"""The replica worker: `python -m phoundry.serving.replica RUN_DIR`.

spec.json:

    name             of the deployment, for logs
    engine           "llama.cpp", "openvino", "transformers", "vllm"; "fake" in tests
    gguf_path        for llama.cpp
    checkpoint_dir   for transformers and vllm
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

import os
import time
from pathlib import Path
from typing import Any

from phoundry.data import ChatTokenizer
from phoundry.files import write_json
from phoundry.serving.engines.registry import open_engine
from phoundry.serving.listen import bind, port_of, run, serve
from phoundry.serving.replica.assembly import assemble, checked_defaults, engine_spec
from phoundry.spool import Spool
from phoundry.worker import main


def replica(spec: dict[str, Any], run_dir: Path, spool: Spool) -> dict[str, Any]:
    """Load, warm up, say so, serve."""
    begun = time.monotonic()
    spool.append("started", engine=spec["engine"], model_name=spec["model_name"])
    tokenizer = ChatTokenizer.load(Path(spec["tokenizer_dir"]))
    defaults = checked_defaults(spec, run_dir, tokenizer)
    loaded = engine_spec(spec, frozenset(tokenizer.end_token_ids))
    engine = open_engine(spec["engine"], loaded)
    made = assemble(spec, run_dir, engine, tokenizer, defaults)
    listener = bind("127.0.0.1", 0)

    async def started() -> None:
        await made.warm_up()
        port = port_of(listener)
        facts = {"context_length": loaded.context_length, "slots": loaded.slots}
        spool.append("ready", port=port, seconds=round(time.monotonic() - begun, 3), **facts)
        write_json(run_dir / "ready.json", {"port": port, "pid": os.getpid()})

    async def serving() -> None:
        try:
            await serve(
                made.application,
                listener,
                started=started,
                stopping=lambda: spool.append("stopping"),
                grace_seconds=made.grace_seconds,
            )
        finally:
            await made.close()

    run(serving())
    return {}


if __name__ == "__main__":
    main(replica)
