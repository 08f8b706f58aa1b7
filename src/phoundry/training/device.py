"""Where a fine-tune runs: on the machine's graphics processor where torch can use one."""

from __future__ import annotations

import torch

from phoundry.training import machine


def chosen() -> torch.device:
    """The first CUDA device, else the processor. `CUDA_VISIBLE_DEVICES=` (empty) hides a GPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def available_memory(device: torch.device) -> int:
    """Bytes that this process may have on `device` in all, what it has now included."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device)
    return machine.available_memory() + machine.resident_memory()
