"""Checkpoints: everything a killed run needs to go on as if nothing had happened.

    checkpoints/step-00000040/
        state.json           step, loss so far, what the run was, plain numbers of the optimizer
        state.safetensors    float32 masters, optimizer state, torch's random state

A folder appears whole or not at all. Safetensors and JSON only; nothing here is ever unpickled.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from phoundry.files import atomic_folder, write_json

PREFIX = "step-"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state between two optimizer steps."""

    step: int
    epoch_end: bool
    state: dict[str, Any]  # JSON
    tensors: dict[str, Tensor]


class CheckpointFolder:
    """The checkpoints of one run.

    `keep` counts those at ends of epochs (-1: all of them); beside them only the newest is kept.
    """

    def __init__(self, path: Path, *, keep: int = -1) -> None:
        self.path = path
        self.keep = keep

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        if not self.path.is_dir():
            return []
        names = (entry.name for entry in self.path.iterdir() if entry.name.startswith(PREFIX))
        return sorted(int(name.removeprefix(PREFIX)) for name in names)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write `checkpoint` and remove those that need not be kept any more."""
        from safetensors import torch as files

        with atomic_folder(self._folder(checkpoint.step)) as folder:
            cast(Any, files).save_file(checkpoint.tensors, folder / "state.safetensors")
            content = {
                "step": checkpoint.step,
                "epoch_end": checkpoint.epoch_end,
                "state": checkpoint.state,
            }
            write_json(folder / "state.json", content)
        self._prune()

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, or None."""
        from safetensors import torch as files

        steps = self.steps()
        if not steps:
            return None
        folder = self._folder(steps[-1])
        content = json.loads((folder / "state.json").read_bytes())
        tensors: dict[str, Tensor] = cast(Any, files).load_file(folder / "state.safetensors")
        return Checkpoint(content["step"], content["epoch_end"], content["state"], tensors)

    def clear(self) -> None:
        """Remove every checkpoint, and what an interrupted write left."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _folder(self, step: int) -> Path:
        return self.path / f"{PREFIX}{step:08d}"

    def _prune(self) -> None:
        steps = self.steps()
        ends = [step for step in steps[:-1] if self._is_epoch_end(step)]
        older = max(0, self.keep - 1)
        kept = ends if self.keep < 0 else ends[-older:] if older else []
        for step in steps[:-1]:
            if step not in kept:
                shutil.rmtree(self._folder(step), ignore_errors=True)

    def _is_epoch_end(self, step: int) -> bool:
        return bool(json.loads((self._folder(step) / "state.json").read_bytes())["epoch_end"])
