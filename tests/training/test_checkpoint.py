from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from phoundry.training.checkpoint import Checkpoint, CheckpointFolder


def _checkpoint(step: int, *, epoch_end: bool = False) -> Checkpoint:
    tensors = {"w": torch.full((3,), float(step)), "w|exp_avg": torch.zeros(3)}
    return Checkpoint(step, epoch_end, {"loss": 1.0 / 3.0}, tensors)


def test_the_newest_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    assert folder.latest() is None
    for step in (2, 10):
        folder.save(_checkpoint(step))
    found = folder.latest()
    assert found is not None
    assert (found.step, found.state) == (10, {"loss": 1.0 / 3.0})
    assert torch.equal(found.tensors["w"], torch.full((3,), 10.0))


@pytest.mark.parametrize(
    ("keep", "left"),
    [(-1, [3, 6, 9, 10]), (1, [10]), (2, [9, 10]), (3, [6, 9, 10]), (9, [3, 6, 9, 10])],
)
def test_the_newest_and_so_many_ends_of_epochs_stay(
    keep: int, left: list[int], tmp_path: Path
) -> None:
    folder = CheckpointFolder(tmp_path, keep=keep)
    for step in range(1, 11):
        folder.save(_checkpoint(step, epoch_end=step % 3 == 0))
    assert folder.steps() == left


def test_only_safetensors_and_json_are_written(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).save(_checkpoint(1))
    names = sorted(file.name for file in (tmp_path / "step-00000001").iterdir())
    assert names == ["state.json", "state.safetensors"]
    json.loads((tmp_path / "step-00000001" / "state.json").read_bytes())


def test_a_write_that_is_cut_short_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(_checkpoint(1))

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("phoundry.training.checkpoint.write_json", full_disk)
    with pytest.raises(OSError, match="No space left"):
        folder.save(_checkpoint(2))
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-00000001"]
    found = folder.latest()
    assert found is not None
    assert found.step == 1


def test_clear_removes_what_an_interrupted_write_left(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    folder.save(_checkpoint(1))
    (tmp_path / "checkpoints" / ".step-00000002.abc").mkdir()
    folder.clear()
    assert folder.steps() == []
    assert not (tmp_path / "checkpoints").exists()
