"""What is kept of runs, for how long, and what happens when the file can't be used."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest

from phoundry.errors import Conflict, NotFound, Unavailable
from phoundry.flows.session.recorded import pack
from phoundry.settings import Home, Settings
from phoundry.traces.record import Recorder, recorder
from phoundry.traces.store import TraceStore
from phoundry.traces.trace import Trace, new_trace
from tests.traces.conftest import SECOND, START, chat_spans, failed_spans, span


def trace(started: int = START, text: str = "", **more: str) -> Trace:
    spans = chat_spans()
    spans[0]["attributes"]["text"] = text
    found = new_trace(spans, more.get("flow", "/flows/faq"), run=more.get("run"))
    found.started = started
    return found


def test_a_trace_says_what_its_spans_add_up_to(store: TraceStore) -> None:
    found = new_trace(chat_spans(), "/flows/faq", run="batch", line=7)
    assert (found.name, found.flow, found.run, found.line) == ("faq", "/flows/faq", "batch", 7)
    assert (found.started, found.seconds) == (START + 1_000_000, 0.008)
    assert (found.input_tokens, found.output_tokens, found.error) == (12, 3, None)
    assert new_trace(failed_spans(), "f").error == (
        "ToolExecutionError: Execution failure in 'n': (ValueError) bad"
    )
    store.add([found])
    assert store.get(found.id) == found
    assert store.get("last").spans == chat_spans()


def test_ids_are_those_of_opentelemetry() -> None:
    found = [new_trace(chat_spans(), "f") for _ in range(100)]
    assert len({each.id for each in found}) == 100
    for each in found:
        ids = {each.span_id(number) for number in range(1, 50)}
        assert len(ids) == 49
        assert all(len(id) == 16 and int(id, 16) for id in ids)
        assert len(each.id) == 32


def test_traces_are_listed_newest_first_and_found_by_their_first_digits(store: TraceStore) -> None:
    traces = [trace(START + n * SECOND, flow=f"/f{n % 2}") for n in range(6)]
    failed = new_trace(failed_spans(), "/f0", run="batch")
    store.add([*traces, failed])
    assert [each.id for each in store.list(limit=3)] == [each.id for each in traces[:-4:-1]]
    assert {each.id for each in store.list(flow="/f1")} == {each.id for each in traces[1::2]}
    assert [each.id for each in store.list(failed=True)] == [failed.id]
    assert [each.id for each in store.list(run="batch", failed=False)] == []
    assert store.list(limit=1)[0].spans == []
    assert store.get(traces[2].id[:20].upper()).id == traces[2].id
    assert next(store.walk([traces[1].id, "last"])).id == traces[1].id
    assert len(list(store.walk())) == 7
    for name in ("nothing", "", "%", "_"):
        with pytest.raises(NotFound, match="There is no trace"):
            store.get(name)
    twins = [trace() for _ in range(2)]
    twins[0].id, twins[1].id = "a" * 32, "a" * 31 + "b"
    store.add(twins)
    with pytest.raises(Conflict, match="Several traces begin with 'aaaa'"):
        store.get("aaaa")


def test_traces_are_forgotten(store: TraceStore) -> None:
    store.add([trace(time.time_ns() - days * 86400 * SECOND) for days in (1, 5, 9)])
    one = store.list()[0]
    assert store.delete([one.id, "unknown"]) == 1
    assert store.delete_older(7) == 1
    assert len(store.list()) == 1
    assert store.delete_older(0) == 1
    assert store.list() == []


def test_age_and_size_are_bounded(tmp_path: Path) -> None:
    now = time.time_ns()
    store = TraceStore(tmp_path / "t.db", days=2, size=1_000_000)
    store.add([trace(now - 3 * 86400 * SECOND), trace(now)])
    assert len(store.list()) == 1
    for n in range(20):
        store.add([trace(now + n * SECOND + place, "x" * 20_000) for place in range(10)])
    assert store.path.stat().st_size < 2_000_000
    kept = store.list(limit=1000)
    assert 20 < len(kept) < 50
    assert kept[0].started == now + 19 * SECOND + 9  # the newest stay
    store.add([trace(now + 100 * SECOND, "y" * 3_000_000)])
    assert len(store.list(limit=1000)) == 1  # the newest stays whatever its size


def test_nobody_else_may_read_the_file(store: TraceStore) -> None:
    store.add([trace()])
    for file in (store.path, *store.path.parent.glob("traces.db-*")):
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE(store.path.parent.stat().st_mode) & 0o077 == 0


def test_reading_makes_no_file(tmp_path: Path) -> None:
    store = TraceStore(tmp_path / "none" / "traces.db")
    assert store.list() == []
    with pytest.raises(NotFound):
        store.get("last")
    assert not store.path.parent.exists()


def test_a_broken_file_is_an_error_to_who_looks_and_none_to_a_run(home: Home) -> None:
    home.root.mkdir()
    home.traces.write_text("this is no database, and long enough to be taken for one " * 99)
    with pytest.raises(Unavailable, match=r"traces\.db can't be used: .*not a database"):
        TraceStore(home.traces).list()
    keeping = recorder(home)
    assert keeping is not None
    keeping.put(chat_spans(), "/flows/faq")
    keeping.flush()
    assert "can't be used" in (keeping.problem or "")


def test_many_threads_and_stores_write_at_once(
    store: TraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phoundry.traces.store.WAIT", 60.0)  # on however slow a disk
    keeping = [Recorder(TraceStore(store.path), Settings({})) for _ in range(3)]

    def work(each: Recorder) -> None:
        for line in range(200):
            assert each.put(chat_spans(), "/flows/faq", line=line)

    threads = [threading.Thread(target=work, args=(each,)) for each in keeping for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in keeping:
        each.flush()
        assert each.problem is None
    assert len(store.list(limit=5000)) == 1200


def test_nothing_is_kept_of_nothing_and_where_it_is_off(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = recorder(home)
    assert keeping is not None
    assert keeping.put([], "f") is None
    assert not home.traces.exists()
    for word in ("off", "0", "False", "no"):
        monkeypatch.setenv("PHOUNDRY_TRACING", word)
        assert recorder(home) is None


def test_the_file_is_plain_sqlite(store: TraceStore) -> None:
    store.add([new_trace([span(1, None, "flow", "f")], "/flows/f")])
    with sqlite3.connect(store.path) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("SELECT name FROM traces").fetchall() == [("f",)]


def test_a_text_of_spans_is_kept_as_it_is(store: TraceStore) -> None:
    """What a batch hands on: never taken apart before somebody looks."""
    text = pack(chat_spans())
    packed, plain = new_trace(text, "f", run="b", line=3), new_trace(chat_spans(), "f")
    assert (packed.spans, packed.text) == ([], text.partition("\n")[2])
    for name in ("name", "started", "seconds", "error", "input_tokens", "output_tokens"):
        assert getattr(packed, name) == getattr(plain, name)
    store.add([packed])
    assert store.get(packed.id).spans == packed.open().spans == chat_spans()
    assert (
        new_trace(pack(failed_spans()), "f", error="other").error
        == new_trace(failed_spans(), "f").error
    )
    assert pack([]) == ""
