"""Downloads over a line that breaks, from a hub that stalls, lies and forgets."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phoundry.errors import (
    Cancelled,
    InsufficientResources,
    InvalidInput,
    PhoundryError,
    Unavailable,
)
from phoundry.hub import download as module
from phoundry.hub.download import download
from phoundry.hub.kinds import MODEL
from phoundry.hub.listing import HubFile, Listing, list_files
from tests.support.hub import (
    Drop,
    Hub,
    Oversized,
    Refuse,
    Repo,
    Stall,
    WrongBytes,
    point,
    serve,
)

BIG = "model.safetensors"
CONTENT = bytes(range(256)) * 2000  # 512,000 bytes


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / BIG).write_bytes(CONTENT)
    (source / "config.json").write_text('{"model_type": "llama"}\n')
    (source / "deep" / "ä b.txt").write_text("spaces and umlauts")
    (source / "empty.txt").write_text("")
    with serve({"someone/tiny": Repo(source)}) as served:
        point(monkeypatch, served.address, tmp_path)
        yield served


def fetch(folder: Path, *names: str, said: list[str] | None = None, report: Any = None) -> None:
    listing = list_files("someone/tiny", MODEL)
    files = [file for file in listing.files if not names or file.path in names]
    say = (lambda _: None) if said is None else said.append
    download(listing, files, folder, say=say, report=report)


def left(folder: Path) -> list[str]:
    """Files in `folder` that are no file of the repository."""
    return [path.name for path in (folder / ".parts").iterdir() if path.name != ".lock"]


def test_everything_comes_with_its_bytes_and_is_not_asked_for_twice(
    hub: Hub, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    fetch(out)
    for name in (BIG, "config.json", "deep/ä b.txt", "empty.txt"):
        assert (out / name).read_bytes() == (tmp_path / "source" / name).read_bytes()
    assert left(out) == []
    before = len(hub.fetched(BIG))
    fetch(out)
    assert len(hub.fetched(BIG)) == before


def test_a_cut_is_gone_on_from_in_the_same_call(hub: Hub, tmp_path: Path) -> None:
    hub.fail(BIG, Drop(after=100_000))
    said: list[str] = []
    fetch(tmp_path / "out", BIG, said=said)
    assert (tmp_path / "out" / BIG).read_bytes() == CONTENT
    assert [each.range for each in hub.fetched(BIG)] == [None, "bytes=100000-"]
    assert "going on" in said[0]


def test_a_cut_is_gone_on_from_in_the_next_call(hub: Hub, tmp_path: Path) -> None:
    hub.fail(BIG, Drop(after=200_000))
    hub.fail(BIG, Drop(after=0), times=6)
    with pytest.raises(Unavailable, match=r"broke off 6 times.*200,000 bytes of 512,000"):
        fetch(tmp_path / "out", BIG)
    assert not (tmp_path / "out" / BIG).exists()
    fetch(tmp_path / "out", BIG)
    assert (tmp_path / "out" / BIG).read_bytes() == CONTENT
    assert hub.fetched(BIG)[-1].range == "bytes=200000-"


@given(cuts=st.lists(st.integers(0, len(CONTENT) - 1), max_size=8))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cuts_lead_to_the_same_bytes(
    hub: Hub, tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    out = tmp_path_factory.mktemp("out")
    hub.faults.clear()
    hub.requests.clear()
    for cut in cuts:
        hub.fail(BIG, Drop(after=cut))
    for _ in range(4):  # eight empty answers in a row use up one call
        try:
            fetch(out, BIG)
            break
        except Unavailable:
            assert not (out / BIG).exists()
    assert (out / BIG).read_bytes() == CONTENT
    starts = [int((each.range or "bytes=0-")[6:-1]) for each in hub.fetched(BIG)]
    assert starts == sorted(starts)  # nothing was asked for again


def test_a_hub_that_falls_silent_is_asked_again(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough that a busy machine does not look like a silent hub.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 2)
    hub.fail(BIG, Stall(after=50_000, seconds=20))
    fetch(tmp_path / "out", BIG)
    assert (tmp_path / "out" / BIG).read_bytes() == CONTENT
    assert hub.fetched(BIG)[-1].range == "bytes=50000-"


def test_a_busy_hub_is_waited_for_but_not_for_ever(hub: Hub, tmp_path: Path) -> None:
    hub.fail(BIG, Refuse(503), times=3)
    fetch(tmp_path / "out", BIG)
    assert (tmp_path / "out" / BIG).read_bytes() == CONTENT
    hub.fail("config.json", Refuse(502), times=100)
    with pytest.raises(Unavailable, match="answered 502"):
        fetch(tmp_path / "out", "config.json")
    assert len(hub.fetched("config.json")) == 6


@pytest.mark.parametrize("name", [BIG, "config.json"])
def test_wrong_bytes_are_thrown_away_and_fetched_once_more(
    hub: Hub, tmp_path: Path, name: str
) -> None:
    hub.fail(name, WrongBytes())
    said: list[str] = []
    fetch(tmp_path / "out", name, said=said)
    assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "source" / name).read_bytes()
    assert "came damaged" in said[0]
    hub.fail(name, WrongBytes(), times=2)
    with pytest.raises(InvalidInput, match=r"is not what the hub lists: (SHA-256|git's SHA-1)"):
        fetch(tmp_path / "other", name)
    assert not (tmp_path / "other" / name).exists()
    assert left(tmp_path / "other") == []


def test_more_bytes_than_listed_are_refused(hub: Hub, tmp_path: Path) -> None:
    hub.fail(BIG, Oversized(more=70_000), times=10)
    with pytest.raises(Unavailable, match=r"lists model\.safetensors with 512,000 bytes and sends"):
        fetch(tmp_path / "out", BIG)
    assert left(tmp_path / "out") == []


def test_fewer_bytes_than_listed_are_never_taken_for_all(hub: Hub, tmp_path: Path) -> None:
    listing = list_files("someone/tiny", MODEL)
    [file] = [each for each in listing.files if each.path == BIG]
    more = HubFile(BIG, file.size + 10, file.sha256, file.blob_id)
    with pytest.raises(Unavailable, match=r"with 512,010 bytes and has not so many"):
        download(listing, [more], tmp_path / "out", say=lambda _: None)
    assert not (tmp_path / "out" / BIG).exists()


def test_a_part_that_does_not_belong_is_not_built_upon(hub: Hub, tmp_path: Path) -> None:
    [file] = [each for each in list_files("someone/tiny", MODEL).files if each.path == BIG]
    parts = tmp_path / "out" / ".parts"
    parts.mkdir(parents=True)
    (parts / str(file.sha256)).write_bytes(b"z" * 300_000)
    fetch(tmp_path / "out", BIG)
    assert (tmp_path / "out" / BIG).read_bytes() == CONTENT


@pytest.mark.parametrize("spoiled", [CONTENT[:1000], CONTENT[:-1] + b"z"])
def test_a_damaged_copy_is_noticed_and_fetched_anew(
    hub: Hub, tmp_path: Path, spoiled: bytes
) -> None:
    fetch(tmp_path / "out", BIG)
    (tmp_path / "out" / BIG).write_bytes(spoiled)
    said: list[str] = []
    fetch(tmp_path / "out", BIG, said=said)
    assert (tmp_path / "out" / BIG).read_bytes() == CONTENT
    assert "is damaged" in said[0]


def test_a_disk_without_room_is_seen_before_anything_is_fetched(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 200_400_000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InsufficientResources, match=r"needs 512,000 bytes .* 200 MB free"):
        fetch(tmp_path / "out", BIG)
    assert hub.fetched(BIG) == []


def test_a_disk_that_fills_up_keeps_what_has_come(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    class Full:
        """A file on a disk with room for 130,000 bytes more."""

        def __init__(self, file: Any) -> None:
            self._file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def write(self, data: bytes) -> int:
            if self._file.tell() + len(data) > 130_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(data)

    def opened(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = real(self, mode, *args, **kwargs)
        return Full(file) if mode == "r+b" else file

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(InsufficientResources, match=r"is full: .* bytes are still to be"):
        fetch(tmp_path / "out", BIG)
    assert not (tmp_path / "out" / BIG).exists()
    monkeypatch.setattr(Path, "open", real)
    fetch(tmp_path / "out", BIG)
    assert (tmp_path / "out" / BIG).read_bytes() == CONTENT
    start = hub.fetched(BIG)[-1].range
    assert start is not None
    assert 0 < int(start[6:-1]) <= 130_000


def test_a_cancelled_download_goes_on(hub: Hub, tmp_path: Path) -> None:
    def cancel(name: str, done: int, total: int) -> None:
        raise Cancelled("Stopped by SIGTERM.")

    with pytest.raises(Cancelled):
        fetch(tmp_path / "out", BIG, report=cancel)
    fetch(tmp_path / "out", BIG)
    assert hub.fetched(BIG)[-1].range is not None
    assert (tmp_path / "out" / BIG).read_bytes() == CONTENT


def test_progress_counts_all_files_and_ends_with_all_bytes(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    seen: list[tuple[str, int, int]] = []
    fetch(tmp_path / "out", report=lambda *each: seen.append(each))
    total = sum(path.stat().st_size for path in (tmp_path / "source").rglob("*") if path.is_file())
    assert {each[2] for each in seen} == {total}
    done = [each[1] for each in seen]
    assert done == sorted(done)
    assert done[-1] == total


@pytest.mark.parametrize("path", ["../evil.txt", "/etc/evil", "a/../../evil"])
def test_a_name_that_leads_out_of_the_folder_is_refused(
    hub: Hub, tmp_path: Path, path: str
) -> None:
    listing = Listing("someone/tiny", MODEL, "main", (HubFile(path, 3),))
    with pytest.raises(InvalidInput, match="outside of its folder"):
        download(listing, listing.files, tmp_path / "out", say=lambda _: None)
    assert not (tmp_path / "out").exists()


def test_two_at_once_take_turns(hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".parts").mkdir(parents=True)
    handle = os.open(out / ".parts" / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    errors: list[PhoundryError] = []

    def work() -> None:
        try:
            fetch(out, BIG)
        except PhoundryError as error:
            errors.append(error)

    other = threading.Thread(target=work)
    other.start()
    other.join(0.3)
    assert other.is_alive()
    assert not hub.fetched(BIG)
    os.close(handle)
    other.join(60)
    assert not errors
    assert (out / BIG).read_bytes() == CONTENT
