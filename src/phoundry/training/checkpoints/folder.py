"""Checkpoints: everything a killed run needs to go on as if nothing had happened.

    checkpoints/step-00000040/
        state.json           step, what the run was, what its evaluations came to, plain numbers of
                             the optimizer; SHA-256 of the tensors' file and of its own content
        state.safetensors    float32 masters, optimizer state, random state
    checkpoints/best         a link to the step that did best in evaluation

A folder appears whole or not at all. What a disk damaged afterwards is noticed by its hash, and the
checkpoint before it is taken. Safetensors and JSON only; nothing here is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from phoundry.errors import ModelError
from phoundry.files import atomic_folder, sha256_file, write_json
from phoundry.training.evaluation.cadence import CHECKPOINT_SECONDS

_NAME = re.compile(r"step-(\d{8,})")
_TENSORS = "state.safetensors"


class Damaged(ModelError):
    """A checkpoint is not what was written."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state between two optimizer steps. `best_step`: of the evaluations up to it."""

    step: int
    epoch_end: bool
    state: dict[str, Any]  # JSON
    tensors: dict[str, Tensor]
    best_step: int | None = None


class CheckpointFolder:
    """The checkpoints of one run; one process writes them.

    `keep` counts those at ends of epochs (-1: all of them). Whatever it says, the newest stays, and
    unless it is 1 the one before it too, for the case that a disk damages the newest; and with each
    of the two the best of its time, so that neither promises what is gone.
    One is written at least every `every_seconds`, where writing is not slow.
    """

    def __init__(
        self, path: Path, *, keep: int = -1, every_seconds: float = CHECKPOINT_SECONDS
    ) -> None:
        self.path = path
        self.keep = keep
        self.every_seconds = every_seconds

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        if not self.path.is_dir():
            return []
        found = (_NAME.fullmatch(entry.name) for entry in self.path.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write `checkpoint` and remove those that need not be kept any more."""
        from safetensors import torch as files

        with atomic_folder(self._folder(checkpoint.step)) as folder:
            cast(Any, files).save_file(checkpoint.tensors, folder / _TENSORS)
            content: dict[str, Any] = {
                "step": checkpoint.step,
                "epoch_end": checkpoint.epoch_end,
                "best_step": checkpoint.best_step,
                "sha256": sha256_file(folder / _TENSORS),
                "state": checkpoint.state,
            }
            write_json(folder / "state.json", {**content, "own_sha256": _digest(content)})
        self._point_to_best(checkpoint.best_step)
        self._prune()

    def load(self, step: int) -> Checkpoint:
        """The checkpoint of `step`, checked whole.

        Raises:
            Damaged: it is not there, or not what was written.
        """
        from safetensors import torch as files

        content = self._checked(step)
        tensors: dict[str, Tensor] = cast(Any, files).load_file(self._folder(step) / _TENSORS)
        return Checkpoint(
            content["step"],
            content["epoch_end"],
            content["state"],
            tensors,
            content["best_step"],
        )

    def latest(self, say: Callable[[str], None] = lambda text: None) -> Checkpoint | None:
        """The newest checkpoint that is whole, and whose best one is; None if there is none.

        `say` hears of each that is passed over, and why.
        """
        for step in reversed(self.steps()):
            try:
                content = self._checked(step)
                best = content["best_step"]
                if best is not None and best != step:
                    self._checked(best)
                return self.load(step)
            except Damaged as damage:
                say(f"The checkpoint of step {step} cannot be used: {damage.message}")
        return None

    def go_on_from(self, step: int) -> None:
        """Remove what comes after `step`, and what an interrupted write left."""
        for later in self.steps():
            if later > step:
                shutil.rmtree(self._folder(later))
        for left in self.path.glob(".step-*"):
            shutil.rmtree(left)
        if step in self.steps():
            self._point_to_best(self._checked(step)["best_step"])

    def clear(self) -> None:
        """Remove every checkpoint, and what an interrupted write left."""
        if self.path.is_dir():
            shutil.rmtree(self.path)

    def _folder(self, step: int) -> Path:
        return self.path / f"step-{step:08d}"

    def _checked(self, step: int) -> dict[str, Any]:
        """state.json of a checkpoint whose two files are as they were written."""
        folder = self._folder(step)
        content = self._read(step)
        if not (folder / _TENSORS).is_file():
            raise Damaged(f"{folder.name} lacks {_TENSORS}.")
        if sha256_file(folder / _TENSORS) != content["sha256"]:
            raise Damaged(f"the bytes of {folder.name}/{_TENSORS} are not those that were written.")
        return content

    def _read(self, step: int) -> dict[str, Any]:
        path = self._folder(step) / "state.json"
        name = f"{path.parent.name}/{path.name}"
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise Damaged(f"there is no {name}.") from None
        except ValueError as error:
            raise Damaged(f"{name} is no JSON ({error}).") from None
        if not isinstance(content, dict) or "own_sha256" not in content:
            raise Damaged(f"{name} has no checksum; an older Phoundry wrote it.")
        found = cast(dict[str, Any], content)
        if found.pop("own_sha256") != _digest(found):
            raise Damaged(f"the content of {name} is not what was written.")
        return found

    def _point_to_best(self, step: int | None) -> None:
        link, fresh = self.path / "best", self.path / ".best"
        if step is None:
            link.unlink(missing_ok=True)
            return
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self._folder(step).name)
        fresh.replace(link)

    def _prune(self) -> None:
        contents = {step: content for step in self.steps() if (content := self._readable(step))}
        steps = list(contents)
        ends = [step for step in steps[:-1] if contents[step]["epoch_end"]]
        older = max(0, self.keep - 1)
        kept = set(ends if self.keep < 0 else ends[-older:] if older else [])
        newest = steps[-1:] if self.keep == 1 else steps[-2:]
        bests = (contents[step]["best_step"] for step in newest)
        kept.update(newest, (best for best in bests if best is not None))
        for step in self.steps():
            if step not in kept:
                shutil.rmtree(self._folder(step))

    def _readable(self, step: int) -> dict[str, Any] | None:
        try:
            return self._read(step)
        except Damaged:
            return None


def _digest(content: dict[str, Any]) -> str:
    """SHA-256 of a JSON value's canonical form."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
