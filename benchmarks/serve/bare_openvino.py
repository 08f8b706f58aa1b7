"""OpenVINO GenAI in a process of its own, set as our replica sets it, with nothing around it.

    python -m benchmarks.serve.bare_openvino SPEC.json

Reads lines `{"prompts": [[id, …], …], "max_tokens": n}` and answers each with `{"tokens",
"seconds"}`: all prompts in one call, greedy. Its own loop decodes as many together as there are
slots, and begins the next when one has ended; no token crosses to Python before the end.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from phoundry.serving.engines.base import EngineSpec
from phoundry.serving.engines.openvino import open_pipeline


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
    ids: list[Any] = [
        tensor(numpy.array([prompt], dtype=numpy.int64)) for prompt in asked["prompts"]
    ]
    config = library.GenerationConfig()
    config.max_new_tokens = asked["max_tokens"]
    config.stop_token_ids = set(ends)
    config.do_sample = False
    config.apply_chat_template = False
    begun = time.perf_counter()
    results = pipeline.generate(ids, [config] * len(ids))
    seconds = time.perf_counter() - begun
    answers = [result.m_generation_ids[0] for result in results]
    tokens = sum(token not in ends for answer in answers for token in answer)
    return {"tokens": tokens, "seconds": seconds}


if __name__ == "__main__":
    main()
