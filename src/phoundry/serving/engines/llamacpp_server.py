"""xllamacpp's `Server`: llama.cpp's scheduler on C++ threads of this process, behind a port.

    python -m phoundry.serving.engines.llamacpp_server

is the same in a process of its own, for several models on one base (`llamacpp_shared`): the spec
comes as a line of JSON over standard input, `{"address"}` or `{"error"}` goes out as one, and the
process ends with its input, so it never outlives whoever started it. Loading holds the
interpreter's lock for as long as it takes; beside streams it must not happen in their process.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from phoundry.errors import InvalidInput, MissingDependency, ModelError, PhoundryError
from phoundry.serving.engines.base import EngineSpec

# llama.cpp's levels: 0 output, 1 errors, 2 warnings, 3 information.
_ERRORS_ONLY = 1


def open_server(spec: EngineSpec, key: str) -> Any:
    """llama.cpp with the file of `spec`, listening on `.listening_address` for callers with `key`.

    Raises:
        InvalidInput: the spec names no file.
        ModelError: the file, or one of the adapters, is not there or cannot be loaded.
        MissingDependency: xllamacpp is not installed.
    """
    if spec.gguf_path is None:
        raise InvalidInput("The engine llama.cpp needs gguf_path.")
    for path in (spec.gguf_path, *spec.adapters):
        if not path.is_file():
            raise ModelError(f"There is no model file {path}.")
    library = _library()
    try:
        return library.Server(_parameters(library, spec, key))
    except RuntimeError as error:
        adapters = f" with {len(spec.adapters)} adapters" if spec.adapters else ""
        raise ModelError(
            f"llama.cpp cannot load {spec.gguf_path.name}{adapters}: {error}",
            remedy="The log of this replica has llama.cpp's reason.",
        ) from None


def _library() -> Any:
    """xllamacpp, a compiled module without types.

    Its threads meet many times a token, and by default they spin while they wait. On a machine that
    is busy (a second replica, a training job) each then burns the time that the other needs: two
    threads on two busy cores were measured at 3 tokens/s spinning and 56 waiting passively. OpenMP
    reads this once, when the library is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ModuleNotFoundError:
        raise MissingDependency.extra("xllamacpp", "serve", "The engine llama.cpp") from None  # noqa: S610
    return xllamacpp


def _parameters(library: Any, spec: EngineSpec, key: str) -> Any:
    p: Any = library.CommonParams()
    p.model.path = str(spec.gguf_path)
    p.n_parallel = spec.slots
    p.n_ctx = spec.context_length * spec.slots  # llama.cpp divides it among the slots
    p.cpuparams.n_threads = spec.threads
    p.cpuparams_batch.n_threads = spec.threads
    # A thread holds each open stream; requests beyond the slots wait in llama.cpp's queue.
    p.n_threads_http = 2 * spec.slots + 4
    p.hostnames = ["127.0.0.1"]
    p.port = 0
    p.api_keys = [key]
    p.ui = False
    # Embeddings beside answers: of the last token, as it has seen all others.
    p.embedding = True
    p.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
    p.endpoint_slots = False
    p.endpoint_metrics = True  # a page that the engine's own thread must answer
    p.cache_ram_mib = 0  # its default keeps up to 8 GiB of old prompts
    p.fit_params = False  # the context is what was asked for, or loading fails
    p.warmup = False  # the replica's first generation is the warm-up
    p.verbosity = _ERRORS_ONLY
    # Loaded, and added by those requests alone that say so.
    p.lora_adapters = [library.CommonAdapterLoraInfo(str(path), 0.0) for path in spec.adapters]
    return p


def to_line(spec: EngineSpec, key: str) -> bytes:
    """What the process is told."""
    told = {
        "gguf_path": str(spec.gguf_path),
        "adapters": [str(path) for path in spec.adapters],
        "context_length": spec.context_length,
        "slots": spec.slots,
        "threads": spec.threads,
        "key": key,
    }
    return json.dumps(told).encode() + b"\n"


def _from_line(line: str) -> tuple[EngineSpec, str]:
    told: dict[str, Any] = json.loads(line)
    spec = EngineSpec(
        context_length=told["context_length"],
        slots=told["slots"],
        threads=told["threads"],
        end_token_ids=frozenset(),
        gguf_path=Path(told["gguf_path"]),
        adapters=tuple(map(Path, told["adapters"])),
    )
    return spec, told["key"]


def main() -> int:
    """Serve until standard input ends."""
    # llama.cpp may write to standard output, where only our line is expected.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server: Any = None
    try:
        spec, key = _from_line(sys.stdin.readline())
        server = open_server(spec, key)
        told: dict[str, Any] = {"address": server.listening_address}
    except PhoundryError as error:
        told = {"error": error.to_dict()}
    answers.write(json.dumps(told) + "\n")
    answers.flush()
    if server is not None:
        sys.stdin.read()
    return 0 if server is not None else 1


if __name__ == "__main__":
    sys.exit(main())
