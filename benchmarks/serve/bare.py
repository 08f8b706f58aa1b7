"""llama.cpp's own server in a process of its own, set as our replica sets it.

    python -m benchmarks.serve.bare SPEC.json

Prints one JSON line, its address and key, and serves until it is ended.
"""

from __future__ import annotations

import json
import secrets
import signal
import sys
from pathlib import Path

from phoundry.serving.engines.base import EngineSpec
from phoundry.serving.engines.llamacpp_server import open_server


def main() -> None:
    told = json.loads(Path(sys.argv[1]).read_text())
    spec = EngineSpec(
        context_length=told["context_length"],
        slots=told["slots"],
        threads=told["threads"],
        end_token_ids=frozenset(),
        gguf_path=Path(told["gguf_path"]),
    )
    key = secrets.token_urlsafe(32)
    # The very settings of our replica, so that what differs is what is around the engine.
    server = open_server(spec, key)
    print(json.dumps({"address": server.listening_address, "key": key}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
