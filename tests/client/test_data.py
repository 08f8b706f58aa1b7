"""`client.data` over the real services, and with a data set of a hub."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from phoundry.client import Client
from phoundry.client.sources import named_source
from phoundry.errors import InvalidInput, NotFound, Unavailable
from phoundry.settings import Home
from tests.support import hub as mirror
from tests.support import ultrachat
from tests.support.ultrachat import HUB_ID


def write_rows(path: Path, numbers: range) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"question": f"What is {n}?", "answer": f"It is {n}."} for n in numbers]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_folder_and_a_glob_are_one_set(here: Client, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows" / "a.jsonl", range(10))
    second = write_rows(tmp_path / "rows" / "deep" / "b.jsonl", range(10, 20))
    packed = tmp_path / "rows" / "c.jsonl.gz"
    packed.write_bytes(gzip.compress(second.read_bytes()))
    second.unlink()
    told: list[tuple[str, int, int]] = []
    asset = here.data.create(
        "faq", tmp_path / "rows", on_progress=lambda *what: told.append(what), test_size=0
    )
    assert (asset.filename, asset.rows_read) == ("a.jsonl, c.jsonl.gz", 20)
    total = sum(path.stat().st_size for path in (tmp_path / "rows").glob("*.*"))
    assert ("Copying", total, total) in told
    assert asset.source == str(tmp_path / "rows")
    again = here.data.create("faq", f"{tmp_path}/rows/*.jsonl*", test_size=0)
    assert again.version == "1"


def test_rows_export_diff_and_delete(here: Client, tmp_path: Path) -> None:
    here.data.create("faq", write_rows(tmp_path / "a.jsonl", range(10)))
    here.data.create("faq", write_rows(tmp_path / "a.jsonl", range(5, 15)))
    found = here.data.diff("faq:1", "faq:2", limit=2)
    assert (found.added, found.removed, found.kept, len(found.added_rows)) == (5, 5, 5, 2)
    written = here.data.export("faq:2", tmp_path / "deep" / "out.jsonl")
    rows = [json.loads(line) for line in written.read_text().splitlines()]
    assert rows == list(here.data.rows("faq:2", split="all", limit=100))
    with here.data.stream("faq:1", split="test") as pieces:
        assert b"".join(pieces).count(b"\n") == 2
    assert list(here.data.delete("faq:1")) == ["faq:1"]
    with pytest.raises(NotFound, match="no version '1'"):
        here.data.export("faq:1", tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def test_columns_that_do_not_map_say_what_to_write(here: Client, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("thema,inhalt\na,b\nc,d\ne,f\n")
    with pytest.raises(InvalidInput, match="thema, inhalt") as caught:
        here.data.create("odd", path)
    assert "--map question=thema --map answer=inhalt" in str(caught.value)
    asset = here.data.create("odd", path, mapping={"question": "thema", "answer": "inhalt"})
    assert asset.mapping == {"question": "thema", "answer": "inhalt"}
    assert (asset.format, asset.container) == ("question-answer", "csv")


def test_settings_are_checked_before_anything_is_sent(here: Client, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", range(3))
    with pytest.raises(InvalidInput) as caught:
        here.data.create("a/b", source, test_size=2, skip_bad=-1)
    assert {fault.where for fault in caught.value.faults} == {"name", "test_size", "skip_bad"}
    assert not here.home.root.exists()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mirror.Hub]:
    ultrachat.write(tmp_path / "ultrachat")
    with mirror.serve({HUB_ID: mirror.Repo(tmp_path / "ultrachat", kind="dataset")}) as hub:
        mirror.point(monkeypatch, hub.address, tmp_path)
        yield hub


def test_a_data_set_of_the_hub(hub: mirror.Hub, here: Client) -> None:
    asset = here.data.create("chats", HUB_ID, split="train_sft[:10%]")
    assert (asset.source, asset.split, asset.config) == (HUB_ID, "train_sft[:10%]", None)
    assert (asset.format, asset.rows_read) == ("messages", 40)
    with pytest.raises(InvalidInput, match="train_sft"):
        here.data.create("chats", HUB_ID, split="trian_sft")
    whole = here.data.create("chats", HUB_ID, split="test_sft")
    assert (whole.container, whole.rows_read) == ("parquet", 40)


def test_without_the_hub_it_is_said_that_one_is_offline(
    here: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.point(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(Unavailable):
        here.data.create("chats", HUB_ID, split="train_sft")


def test_a_path_is_kept_whole_and_an_id_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").touch()
    assert named_source("a.jsonl") == str(tmp_path / "a.jsonl")
    assert named_source("./*.jsonl") == str(tmp_path / "*.jsonl")
    assert named_source("owner/name") == "owner/name"


def test_it_is_the_same_over_a_wire(home: Home, tmp_path: Path, here: Client) -> None:
    """A real server on a real socket: uploads and exports are streamed there too."""
    import socket
    import threading
    import time

    import uvicorn

    from phoundry.server.app import create_app

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    app = create_app(home)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        with Client(home, url=f"http://127.0.0.1:{port}", token=app.state.token) as there:
            source = write_rows(tmp_path / "large.jsonl", range(30_000))
            asset = there.data.create("faq", source)
            assert asset.rows_read == 30_000
            assert (
                there.data.export("faq", tmp_path / "out.jsonl").read_bytes().count(b"\n") == 30_000
            )
            assert there.data.create("faq", source).version == "1"
            with pytest.raises(NotFound), there.data.stream("nothing"):
                pass
    finally:
        server.should_exit = True
        thread.join()
        app.state.context.database.close()
    assert here.data.show("faq:1") == asset
