"""transformers' generate, as its users call it, in a process of its own.

    python -m benchmarks.serve.reference CHECKPOINT THREADS

Reads lines `{"prompts": [[id, …], …], "max_tokens": n}` and answers each with `{"tokens",
"seconds"}`: the prompts as one batch, padded on the left, greedy.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, cast


def main() -> None:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(int(sys.argv[2]))
    auto = cast(Any, AutoModelForCausalLM)
    model: Any = auto.from_pretrained(sys.argv[1], dtype="auto").eval()
    ends = model.generation_config.eos_token_id
    ends = {ends} if isinstance(ends, int) else set(ends)
    print(json.dumps({"dtype": str(model.dtype)}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        longest = max(len(ids) for ids in asked["prompts"])
        pad = min(ends)
        rows = [[pad] * (longest - len(ids)) + ids for ids in asked["prompts"]]
        mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in asked["prompts"]]
        began = time.perf_counter()
        with torch.inference_mode():
            output: Any = model.generate(
                input_ids=torch.tensor(rows),
                attention_mask=torch.tensor(mask),
                max_new_tokens=asked["max_tokens"],
                do_sample=False,
                pad_token_id=pad,
            )
        seconds = time.perf_counter() - began
        tokens = sum(_length(row, ends) for row in output[:, longest:].tolist())
        print(json.dumps({"tokens": tokens, "seconds": seconds}), flush=True)


def _length(answer: list[int], ends: set[int]) -> int:
    """Tokens before the end token."""
    return next((at for at, token in enumerate(answer) if token in ends), len(answer))


if __name__ == "__main__":
    main()
