"""OpenVINO GenAI in a process of its own, set as our replica sets it, with nothing around it.

    python -m benchmarks.serve.bare_openvino SPEC.json

Reads lines `{"clients": [[[id, …], …], …], "max_tokens": n}` and answers each with `{"tokens",
"seconds"}`: greedy, the next prompt of a client once the one before has been answered, as its
clients ask an endpoint. (In one call of `generate` OpenVINO 2026.4 decodes all of them together,
however many, and `max_num_seqs` does not hold it: twice the streams is another measurement.) No
token crosses to Python before the end of its answer.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections import deque
from itertools import count
from pathlib import Path
from typing import Any

from phoundry.serving.engines.base import EngineSpec
from phoundry.serving.engines.openvino_pipeline import open_pipeline


def main() -> None:
    told = json.loads(Path(sys.argv[1]).read_text())
    spec = EngineSpec(
        context_length=told["context_length"],
        slots=told["slots"],
        threads=told["threads"],
        end_token_ids=frozenset(told["end_token_ids"]),
        gguf_path=Path(told["gguf_path"]),
    )
    # The very settings of our replica, so that what differs is what is around the engine.
    library, pipeline = open_pipeline(spec)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(_answered(library, pipeline, spec.end_token_ids, asked)), flush=True)


def _answered(
    library: Any, pipeline: Any, ends: frozenset[int], asked: dict[str, Any]
) -> dict[str, float]:
    import numpy

    tensor: Any = importlib.import_module("openvino").Tensor  # of an extra: not always there
    config = library.GenerationConfig()
    config.max_new_tokens = asked["max_tokens"]
    config.stop_token_ids = set(ends)
    config.do_sample = False
    config.apply_chat_template = False
    clients = [
        deque(tensor(numpy.array([prompt], dtype=numpy.int64)) for prompt in own)
        for own in asked["clients"]
    ]
    numbers = count()
    running: dict[int, Any] = {}  # by client
    tokens = 0
    begun = time.perf_counter()
    while True:
        for client, left in enumerate(clients):
            if left and client not in running:
                running[client] = pipeline.add_request(next(numbers), left.popleft(), config)
        if not running:
            return {"tokens": tokens, "seconds": time.perf_counter() - begun}
        pipeline.step()
        for client, handle in list(running.items()):
            if handle.get_status() != library.GenerationStatus.RUNNING:
                del running[client]
                (answer,) = handle.read_all()
                tokens += sum(token not in ends for token in answer.generated_ids)


if __name__ == "__main__":
    main()
