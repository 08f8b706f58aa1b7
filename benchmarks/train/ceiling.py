"""What the machine could do at best: rates of matrix products, and FLOPs that a token needs.

    python -m benchmarks.train.ceiling CHECKPOINT TOKENS DTYPE DEVICE

prints one JSON line, `{"square_2048": FLOP/s, ...}`: the median rate of the square product that is
asked for everywhere, and of the model's own shapes for a pack of TOKENS tokens.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

SQUARE = 2048
SECONDS_A_SHAPE = 0.8
LEAST_REPEATS = 5


def shapes(config: dict[str, Any], tokens: int) -> dict[str, tuple[int, int, int]]:
    """(m, k, n) of the products of a forward pass over `tokens` tokens, the square one first."""
    from phoundry.training.planning.shape import ModelShape

    shape = ModelShape.from_config(config)
    heads = shape.heads * shape.head_width
    keys = shape.key_heads * shape.head_width
    found = {f"square_{SQUARE}": (SQUARE, SQUARE, SQUARE)}
    if shape.fused:
        found["qkv"] = (tokens, shape.hidden, heads + 2 * keys)
        found["gate_up"] = (tokens, shape.hidden, 2 * shape.intermediate)
    else:
        found["query"] = (tokens, shape.hidden, heads)
        found["key"] = (tokens, shape.hidden, keys)
        found["up"] = (tokens, shape.hidden, shape.intermediate)
    found["down"] = (tokens, shape.intermediate, shape.hidden)
    return found | {"head": (min(tokens, 256), shape.hidden, shape.vocabulary)}


def rate(m: int, k: int, n: int, *, dtype: Any, device: str) -> float:
    """Median FLOP/s of x @ w.T, x (m, k) and w (n, k): the product of a linear layer."""
    import torch
    from torch.nn import functional

    x = torch.randn(m, k, dtype=dtype, device=device)
    w = torch.randn(n, k, dtype=dtype, device=device)
    times: list[float] = []
    deadline = time.perf_counter() + SECONDS_A_SHAPE
    while time.perf_counter() < deadline or len(times) < LEAST_REPEATS:
        if device != "cpu":
            torch.cuda.synchronize()
        started = time.perf_counter()
        functional.linear(x, w)
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    # The first one sets the library up.
    return 2 * m * k * n / statistics.median(times[1:])


def rates(checkpoint: Path, tokens: int, dtype: str, device: str) -> dict[str, float]:
    """The rate of each of `shapes`."""
    import torch

    config = json.loads((checkpoint / "config.json").read_text())
    kind = getattr(torch, dtype)
    return {
        name: rate(*shape, dtype=kind, device=device)
        for name, shape in shapes(config, tokens).items()
    }


def flops_per_token(
    config: dict[str, Any],
    *,
    rank: int,
    supervised_share: float,
    segment: float,
    computed_share: float = 1.0,
) -> float:
    """FLOPs of a token trained with LoRA: 4P + 4fH + 6A + 6·L·d·s̄.

    P are the weights of the decoder's linear layers and H those of the output projection, which are
    frozen and need no gradient (4 and not 6); f is the supervised share, A the adapters' weights, L
    the layers, d heads × width, s̄ the mean of the conversations' lengths, each weighted by itself.
    Attention looks back only: half of all pairs. What is computed twice to save memory does not
    count. `computed_share`: of the tokens, those that go through the decoder, where conversations
    that begin alike are computed together.
    """
    from phoundry.training.planning.shape import ModelShape

    shape = ModelShape.from_config(config)
    head = shape.vocabulary * shape.hidden
    attention = shape.layers * shape.heads * shape.head_width * segment
    adapters = shape.adapter_weights(rank)
    decoder = 4 * shape.linear_weights + 6 * adapters + 6 * attention
    return computed_share * decoder + 4 * supervised_share * head


if __name__ == "__main__":
    folder, tokens, dtype, device = sys.argv[1:]
    print(json.dumps(rates(Path(folder), int(tokens), dtype, device)))
