"""Traces of real runs: kept without asking, shown as a tree, without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phoundry.cli import main
from phoundry.client import Client
from phoundry.errors import UsageError
from phoundry.settings import Home
from phoundry.traces.store import TraceStore
from phoundry.traces.trace import new_trace
from phoundry.traces.view import tree
from tests.flows.conftest import MakeFlow, make_flow
from tests.flows.test_session import one_tool
from tests.traces.conftest import FakeCollector, chat_spans, collector, failed_spans, span

__all__ = ["collector", "make_flow"]

TREE = """\
flow faq  5.0 ms
│  inputs    {"q": "Hi"}
│  output    {"answer": "Hello."}
├─ node search  5.0 ms
│     inputs    {"q": "Hi"}
│     output    ["a", "b"]
└─ node ask  5.0 ms
   │  inputs    {"q": "Hi"}
   │  output    Hello.
   └─ model smollm2  5.0 ms  12 → 3 tokens
         system    Be brief.
         user      Hi
         answer    Hello."""


def test_a_tree_shows_what_ran_below_what() -> None:
    assert "\n".join(tree(new_trace(chat_spans(), "f"))) == TREE
    failed = tree(new_trace(failed_spans(), "f"))
    assert "└─ node n  5.0 ms  FAILED" in failed
    assert any("bad" in line for line in failed)


def test_long_values_are_cut_and_lost_parents_shown() -> None:
    spans = [span(5, 9, "node", "n", output="x" * 1000 + "\nend", status="Bypassed")]
    (head, value) = tree(new_trace(spans, "f"))
    assert head == "node n  5.0 ms  bypassed"
    assert value.endswith("… (1,004 characters)")
    assert "".join(tree(new_trace(spans, "f"), full=True)).endswith("end")


def test_every_run_leaves_a_trace(
    home: Home, make_flow: MakeFlow, capsys: pytest.CaptureFixture[str], collector: FakeCollector
) -> None:
    folder = one_tool(make_flow, "if q == 'bad': raise ValueError('oh no')\nreturn q")
    client = Client(home)
    with client.flows.session(folder) as session:
        session.run({"q": "fine"})
        session.run({"q": "bad"})
    assert client.flows.scores(folder) is False
    store = TraceStore(home.traces)
    _settle(store, 2)
    failed, fine = client.traces.list(flow=folder)
    assert (fine.status, fine.error) == ("Completed", None)
    assert failed.status == "Failed"
    assert "oh no" in (failed.error or "")
    assert [each.id for each in client.traces.list(failed=True)] == [failed.id]
    detail = client.traces.show(fine.id)
    assert [each.kind for each in detail.spans] == ["node", "flow"]
    assert detail.spans[0].parent == detail.spans[1].id
    assert detail.spans[0].attributes["output"] == "fine"
    assert main(["trace", "show", fine.id[:10]]) == 0
    assert "└─ node n" in capsys.readouterr().out
    assert main(["trace", "list", "-o", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert main(["trace", "export", "--otlp", collector.url]) == 0
    assert capsys.readouterr().out == "Sent 4 spans.\n"
    assert len(collector.spans) == 4
    assert main(["trace", "export", fine.id[:10], "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["resourceSpans"]
    assert main(["trace", "delete", fine.id[:10], "-y"]) == 0
    assert main(["trace", "delete", "--all", "-y"]) == 0
    assert client.traces.list() == []
    assert main(["trace", "delete"]) == 2
    assert main(["trace", "show", "last"]) == 1


def _settle(store: TraceStore, count: int) -> None:
    import time

    deadline = time.monotonic() + 20
    while len(store.list()) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def test_no_collector_is_a_plain_error(home: Home) -> None:
    with pytest.raises(UsageError, match="No collector is named"):
        Client(home).traces.export()


def test_traces_can_be_off(
    home: Home, make_flow: MakeFlow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from phoundry.client.traces import keeper
    from phoundry.flows import load_flow

    flow = load_flow(one_tool(make_flow, "return q"))
    assert keeper(home, flow) is not None
    monkeypatch.setenv("PHOUNDRY_TRACING", "off")
    assert keeper(home, flow) is None
