from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from phoundry.training.checkpoints.folder import Checkpoint, CheckpointFolder, Damaged


def _checkpoint(step: int, *, epoch_end: bool = False, best: int | None = None) -> Checkpoint:
    tensors = {"w": torch.full((300,), float(step)), "w|exp_avg": torch.zeros(3)}
    return Checkpoint(step, epoch_end, {"loss": 1.0 / 3.0}, tensors, best)


def test_the_newest_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    assert folder.latest() is None
    for step in (2, 10):
        folder.save(_checkpoint(step, best=2))
    found = folder.latest()
    assert found is not None
    assert (found.step, found.best_step, found.state) == (10, 2, {"loss": 1.0 / 3.0})
    assert torch.equal(found.tensors["w"], torch.full((300,), 10.0))


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


@pytest.mark.parametrize(("keep", "left"), [(1, [4, 10]), (2, [4, 9, 10]), (-1, [3, 4, 6, 9, 10])])
def test_the_best_stays_whatever_the_limit_and_has_a_name(
    keep: int, left: list[int], tmp_path: Path
) -> None:
    folder = CheckpointFolder(tmp_path, keep=keep)
    for step in range(1, 11):
        best = 2 if step < 4 else 4
        folder.save(_checkpoint(step, epoch_end=step % 3 == 0, best=best if step > 1 else None))
    assert folder.steps() == left
    assert (tmp_path / "best").resolve() == tmp_path.resolve() / "step-00000004"


def test_a_spare_keeps_the_best_of_its_own_time(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    for step, best in ((1, 1), (2, 1), (3, 3)):
        folder.save(_checkpoint(step, best=best))
    assert folder.steps() == [1, 2, 3]
    _flip(tmp_path / "step-00000003" / "state.safetensors")
    found = folder.latest()
    assert found is not None
    assert (found.step, found.best_step) == (2, 1)


def test_only_safetensors_and_json_are_written(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).save(_checkpoint(1))
    names = sorted(file.name for file in (tmp_path / "step-00000001").iterdir())
    assert names == ["state.json", "state.safetensors"]
    json.loads((tmp_path / "step-00000001" / "state.json").read_bytes())


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _change_a_number(path: Path) -> None:
    path.write_text(path.read_text().replace("0.333", "0.334"))


def _unsigned(path: Path) -> None:
    content = json.loads(path.read_bytes())
    del content["own_sha256"]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("state.safetensors", _flip, "the bytes of step-00000002/state.safetensors are not those"),
        ("state.safetensors", _cut, "the bytes of step-00000002/state.safetensors are not those"),
        ("state.safetensors", Path.unlink, "step-00000002 lacks state.safetensors"),
        ("state.json", _cut, "step-00000002/state.json is no JSON"),
        ("state.json", _change_a_number, "the content of step-00000002/state.json is not what"),
        ("state.json", Path.unlink, "there is no step-00000002/state.json"),
        ("state.json", _unsigned, "an older Phoundry wrote it"),
    ],
)
def test_a_damaged_one_is_noticed_and_the_one_before_taken(
    name: str, damage: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2):
        folder.save(_checkpoint(step))
    damage(tmp_path / "step-00000002" / name)
    heard: list[str] = []
    found = folder.latest(heard.append)
    assert found is not None
    assert found.step == 1
    assert len(heard) == 1
    assert "The checkpoint of step 2 cannot be used" in heard[0]
    assert said in heard[0]
    with pytest.raises(Damaged):
        folder.load(2)
    folder.go_on_from(1)
    assert folder.steps() == [1]


def test_one_whose_best_is_damaged_is_not_gone_on_from(tmp_path: Path) -> None:
    """It could never put out what it promises; the one before the best comes to it again."""
    folder = CheckpointFolder(tmp_path)
    for step, best in ((1, None), (2, 2), (3, 2)):
        folder.save(_checkpoint(step, epoch_end=True, best=best))
    _flip(tmp_path / "step-00000002" / "state.safetensors")
    heard: list[str] = []
    found = folder.latest(heard.append)
    assert found is not None
    assert found.step == 1
    assert ["step 3" in heard[0], "step 2" in heard[1]] == [True, True]
    folder.go_on_from(1)
    assert folder.steps() == [1]
    assert not (tmp_path / "best").is_symlink()


def test_where_all_are_damaged_there_is_none(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(_checkpoint(1))
    _flip(tmp_path / "step-00000001" / "state.safetensors")
    assert folder.latest() is None
    folder.go_on_from(0)
    folder.save(_checkpoint(2))
    assert folder.steps() == [2]


def test_a_write_that_is_cut_short_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(_checkpoint(1))

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("phoundry.training.checkpoints.folder.write_json", full_disk)
    with pytest.raises(OSError, match="No space left"):
        folder.save(_checkpoint(2))
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-00000001"]
    found = folder.latest()
    assert found is not None
    assert found.step == 1


def test_what_a_killed_write_left_is_removed(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    folder.save(_checkpoint(1))
    (tmp_path / "checkpoints" / ".step-00000002.1.abc").mkdir()
    folder.go_on_from(1)
    assert [entry.name for entry in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    folder.clear()
    assert folder.steps() == []
    assert not (tmp_path / "checkpoints").exists()
