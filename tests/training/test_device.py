"""Where a fine-tune runs. No GPU is needed: torch's answers are put in its place."""

from __future__ import annotations

import pytest
import torch

from phoundry.training import device, machine


def test_without_a_gpu_it_is_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "available_memory", lambda: 700)
    monkeypatch.setattr(machine, "resident_memory", lambda: 50)
    assert device.chosen() == torch.device("cpu")
    assert device.available_memory(device.chosen()) == 750


def test_a_gpu_is_taken_with_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda where: (900, 1000))  # type: ignore[reportUnknownLambdaType]
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda where: 80)  # type: ignore[reportUnknownLambdaType]
    assert device.chosen().type == "cuda"
    assert device.available_memory(device.chosen()) == 980
