"""The fastest matrix product of this machine, measured: what a training speed is compared with."""

from __future__ import annotations

import time

import torch

# Large enough that the product is all that counts, small enough for a fraction of a second.
SIDE = 2048
REPEATS = 5
BUDGET_SECONDS = 0.8  # a slow machine measures less often, never not at all


def best_rate(dtype: torch.dtype, device: torch.device | None = None) -> float:
    """Floating-point operations a second of a square product of `dtype`, the best of a few: what
    else runs on the machine makes a product slower, never faster.

    A product of (n, n) matrices is 2n³ operations; n is 2048. torch's random state is left as it
    was. Takes under a second, on a slow machine as long as two products.
    """
    where = device or torch.device("cpu")
    left = torch.ones(SIDE, SIDE, dtype=dtype, device=where)
    right = torch.ones(SIDE, SIDE, dtype=dtype, device=where)
    out = torch.empty(SIDE, SIDE, dtype=dtype, device=where)
    seconds: list[float] = []
    begun = time.perf_counter()
    _product(left, right, out)  # the library lays out its plan at the first
    while not seconds or (len(seconds) < REPEATS and time.perf_counter() - begun < BUDGET_SECONDS):
        start = time.perf_counter()
        _product(left, right, out)
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(seconds)


def _product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
    with torch.no_grad():
        torch.mm(left, right, out=out)
    if out.device.type == "cuda":
        torch.cuda.synchronize(out.device)
