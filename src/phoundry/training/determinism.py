"""Settings of torch that decide whether the same run gives the same bits."""

from __future__ import annotations

import os

import torch


def settle(*, seed: int, full: bool, threads: int) -> None:
    """Seed torch and fix its number of threads: products are split by thread, and every split
    rounds differently.

    On a processor that is enough for the same bits again. `full` (enable_full_determinism) also
    refuses operations that have no deterministic form, and takes away from a GPU's libraries what
    they choose by trying. Python's hash seed plays no part: nothing here iterates over a set.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    if full:
        # Read by cuBLAS when it is first used; without it torch refuses its products.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if full or torch.are_deterministic_algorithms_enabled():
        # Imports torch's compiler, to tell it: a second that no other run need spend.
        torch.use_deterministic_algorithms(full)
    torch.backends.cudnn.deterministic = full
    torch.backends.cudnn.benchmark = False
