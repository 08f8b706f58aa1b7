"""Traces of requests to served flows: the caller's id, parts of one trace, files of before."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import Conflict, NotFound
from phoundry.flows.trace_context import span_id
from phoundry.traces.otlp import SERVER, request
from phoundry.traces.served import served
from phoundry.traces.store import TraceStore
from phoundry.traces.trace import Trace, new_trace
from phoundry.traces.view import tree
from tests.traces.conftest import chat_spans, span

CALLERS, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def ident(number: int) -> str:
    return f"{number:010x}{number:022x}"


def told(number: int, spans: Any = None, **more: Any) -> dict[str, Any]:
    base = {"id": ident(number), "spans": spans or chat_spans(), "request": f"r{number}"}
    return {**base, "within": None, "parent": None, **more}


def kept(told: dict[str, Any], **more: Any) -> Trace:
    found = served(told, "/flows/faq", **more)
    assert found is not None
    return found


def test_a_request_keeps_its_id_and_where_it_came_through(store: TraceStore) -> None:
    one = kept(told(1), title="mine", endpoint="chat", deployment="blue")
    store.add([one])
    store.add([one, kept(told(2), endpoint="chat", deployment="green")])
    store.add([new_trace(chat_spans(), "/flows/faq")])
    assert len(store.list()) == 3  # what came twice is there once
    assert {trace.name for trace in store.list(endpoint="chat")} == {"mine", "faq"}
    (found,) = store.list(endpoint="chat", deployment="blue")
    assert (found.id, found.origin.request) == (ident(1), "r1")
    (root,) = [it for it in store.get(found.id).spans if it["parent"] is None]
    assert root["name"] == "mine"
    (spans,) = [
        it["scopeSpans"][0]["spans"] for it in request([store.get(one.id)])["resourceSpans"]
    ]
    sent = spans[-1]
    names = {it["key"]: it["value"].get("stringValue") for it in sent["attributes"]}
    assert sent["kind"] == SERVER
    assert names["phoundry.endpoint"] == "chat"
    assert names["phoundry.deployment"] == "blue"
    assert names["phoundry.request_id"] == "r1"
    assert "parentSpanId" not in sent


def test_flows_of_one_callers_trace_are_one_tree(store: TraceStore) -> None:
    """The second flow was asked by the model call of the first one."""
    first = kept(told(1, within=CALLERS, parent=PARENT))
    inner = [span(1, None, "flow", "inner")]
    second = kept(told(2, inner, within=CALLERS, parent=span_id(first.id, 4)))
    store.add([second, first])
    assert [part.id for part in store.parts(CALLERS[:6])] == [first.id, second.id]
    assert [part.id for part in store.parts("last")] == [first.id, second.id]
    assert {trace.trace_id for trace in store.list()} == {CALLERS}
    lines = tree(*store.parts(CALLERS))
    above = next(place for place, line in enumerate(lines) if "model smollm2" in line)
    below = next(line for line in lines[above:] if "flow inner" in line)
    assert below.index("flow") > lines[above].index("model")
    spans = request(store.walk([CALLERS]))["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert {it["traceId"] for it in spans} == {CALLERS}
    assert len({it["spanId"] for it in spans}) == 5
    roots = {it["name"]: it["parentSpanId"] for it in spans if it["name"] in ("faq", "inner")}
    assert roots == {"faq": PARENT, "inner": span_id(first.id, 4)}
    store.add([kept(told(3))])
    with pytest.raises(NotFound):
        store.get(first.id)  # its name is the caller's
    assert store.delete([CALLERS]) == 2
    assert [trace.id for trace in store.list()] == [ident(3)]


def test_a_trace_that_says_to_stand_below_itself_is_shown(store: TraceStore) -> None:
    here = [span(2, 1, "node", "n"), span(1, None, "flow", "f")]
    beside = kept(told(2, within=CALLERS, parent=PARENT))
    store.add([kept(told(1, here, within=CALLERS, parent=span_id(ident(1), 2))), beside])
    assert "flow faq" in "\n".join(tree(*store.parts(CALLERS)))


def test_ids_of_callers_are_told_apart_like_others(store: TraceStore) -> None:
    store.add([kept(told(1, within="ab" + "0" * 29 + "1")), kept(told(2, within="ab" + "1" * 30))])
    with pytest.raises(Conflict):
        store.get("ab")
    assert store.get("AB1").id == ident(2)


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"spans": []},
        {"spans": "text"},
        {"spans": [1]},
        {"spans": [{"start": "x", "end": 1}]},
        {"spans": [{"start": 1, "end": 2, "attributes": None}]},
        {"spans": [{**span(1, None, "model", "m"), "attributes": None}]},
    ],
)
def test_what_is_no_trace_is_none(odd: dict[str, Any]) -> None:
    assert served(odd, "f") is None


def test_an_id_that_is_none_is_replaced() -> None:
    found = kept(told(1, id="../x", within=5, parent="p", request="a\nb"))
    assert len(found.id) == 32
    assert found.origin[:2] == (None, None)
    assert found.origin.request is None


def test_a_file_of_the_version_before_is_brought_along(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(
            "CREATE TABLE traces (id TEXT PRIMARY KEY, name TEXT NOT NULL, flow TEXT NOT NULL,"
            " started INTEGER NOT NULL, seconds REAL NOT NULL, run TEXT, line INTEGER, error TEXT,"
            " input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, spans TEXT NOT NULL)"
            " WITHOUT ROWID; CREATE INDEX traces_started ON traces (started);"
            "INSERT INTO traces VALUES ('ab', 'old', '/f', 1800000000000000000, 0.5, 'run', 3,"
            " NULL, 1, 2, '[]'); PRAGMA user_version = 1;"
        )
    store = TraceStore(path)
    assert [(it.name, it.line, it.origin.endpoint) for it in store.list()] == [("old", 3, None)]
    store.add([kept(told(1), endpoint="chat")])
    assert [trace.name for trace in store.list()] == ["faq", "old"]
    assert store.get("ab").run == "run"
