"""Our endpoint with the engine that `engine: auto` would choose, beside every engine bare.

The endpoint's engine is chosen as for a deployment: by `phoundry.serving.speeds`, the worker behind
`phoundry model benchmark`. OpenVINO GenAI is found by the processes of this part alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.serve import sides
from benchmarks.serve.rounds import Rounds, in_turn
from benchmarks.serve.sides import Questions, Served
from benchmarks.train.material import install
from benchmarks.train.sides import with_packages
from phoundry.files import read_json, write_json

STREAMS = 8
ENGINES = ("llama.cpp", "openvino")
# Pinned, so that two people's figures compare. What else it needs Phoundry has.
OPENVINO = ["openvino==2026.4.1", "openvino-genai==2026.4.1.0", "openvino-tokenizers==2026.4.1.0"]


def best(
    served: Served, questions: Questions, folder: Path, cache: Path, options: Rounds
) -> dict[str, Any]:
    """`ratio_best_engine_8`: our endpoint against the best engine, both at eight streams."""
    folder.mkdir(parents=True)
    environ = with_packages(os.environ, install(OPENVINO, cache))
    speeds = _speeds(served, folder / "speeds", environ)
    engine = max(speeds, key=lambda name: speeds[name])
    print(f"{engine} is chosen: {json.dumps(speeds)} tokens/s", flush=True)
    with (
        sides.endpoint(served, questions, folder / "ours", engine=engine, environ=environ) as ours,
        sides.bare(served, questions, folder / "llama") as llama,
        sides.bare_openvino(served, questions, folder / "openvino", environ) as openvino,
    ):
        found = in_turn([ours, llama, openvino], STREAMS, questions, options)
    rates = [[each.rate for each in rounds] for rounds in found]
    medians = [statistics.median(of) for of in rates]
    fastest = 1 if medians[1] >= medians[2] else 2
    pairs = zip(rates[0], rates[fastest], strict=True)
    return {
        f"ratio_best_engine_{STREAMS}": round(statistics.median(a / b for a, b in pairs), 3),
        f"best_engine_{STREAMS}": ENGINES[fastest - 1],
        f"chosen_engine_{STREAMS}": engine,
        f"tokens_per_second_{STREAMS}_chosen": round(medians[0], 1),
        f"tokens_per_second_{STREAMS}_bare_llamacpp": round(medians[1], 1),
        f"tokens_per_second_{STREAMS}_bare_openvino": round(medians[2], 1),
    }


def _speeds(served: Served, folder: Path, environ: dict[str, str]) -> dict[str, float]:
    """Tokens per second of each engine that can serve it, as `engine: auto` knows them."""
    spec = {
        **served.spec(),
        "engines": list(ENGINES),
        "tokenizer_dir": str(served.tokenizer_dir),
        "streams": [STREAMS],
    }
    write_json(folder / "spec.json", spec)
    words = [sys.executable, "-m", "phoundry.serving.speeds", str(folder)]
    with (folder / "log.txt").open("w") as log:
        subprocess.run(words, env=environ, stdout=log, stderr=log, check=False)
    result: dict[str, Any] = read_json(folder / "result.json") or {}
    if result.get("left_out") or not result.get("speeds"):
        raise SystemExit(f"An engine could not be measured: {json.dumps(result)}")
    return {name: rates[str(STREAMS)] for name, rates in result["speeds"].items()}
