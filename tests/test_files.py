from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from phoundry.files import atomic_folder, read_json, write_atomic, write_json
from phoundry.spool import Spool


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_json(path, {"x": "ü"})
    write_json(path, {"x": 2}, mode=0o600)
    assert read_json(path) == {"x": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["b.json"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")

    def no_space(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with pytest.raises(RuntimeError), atomic_folder(target) as working:
        (working / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    for content in ("one", "two"):
        with atomic_folder(target) as working:
            (working / content).write_text(content)
    assert [entry.name for entry in target.iterdir()] == ["two"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_spool_is_read_from_where_one_stopped(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "events.jsonl")
    assert spool.read() == ([], 0)
    spool.append("started", max_steps=3)
    events, offset = spool.read()
    assert [event["kind"] for event in events] == ["started"]
    spool.append("progress", step=1)
    with spool.path.open("ab") as file:
        file.write(b'{"kind": "half')  # the writer was killed here
    events, offset = spool.read(offset)
    assert [event["step"] for event in events] == [1]
    assert spool.read(offset) == ([], offset)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from phoundry.files import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_text('x'); os._exit(9)"
    )
    destination = tmp_path / "model"
    subprocess.run([sys.executable, "-c", code, str(destination)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    other = tmp_path / f".model.{os.getpid()}.abc"  # of a process that lives
    other.mkdir()
    with atomic_folder(destination) as folder:
        (folder / "whole").write_text("y")
    assert {path.name for path in tmp_path.iterdir()} == {"model", other.name}
