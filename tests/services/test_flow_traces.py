"""Traces of deployed flows: from a replica's folder into the home's store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phoundry.files import write_json
from phoundry.services import endpoints, flow_traces
from phoundry.services.context import Context
from phoundry.services.reconcile import deployments as reconcile
from phoundry.settings import Home
from phoundry.spool import BoundedSpool
from phoundry.traces.store import TraceStore
from tests.services.fake_workers import FakeWorkers
from tests.services.test_flow_deployments import advance, deploy, folder, ready
from tests.traces.conftest import FakeCollector, chat_spans, collector

__all__ = ["collector", "folder", "ready"]


def tell(run_dir: Path, *numbers: int, **more: Any) -> None:
    spool = BoundedSpool(run_dir / flow_traces.FOLDER, size=2000)
    for number in numbers:
        spool.append("trace", id=f"{number:032x}", spans=chat_spans(), request="r1", **more)


def test_what_a_replica_tells_is_kept_once(
    ready: Context, fleet: FakeWorkers, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(ready, folder)
    advance(ready, fleet)
    (start,) = fleet.starts
    assert start.spec["traced"] is True
    store = TraceStore(ready.home.traces)
    flow_traces.tick(ready)
    assert store.list() == []
    tell(start.folder, 1, 2, 3)
    (start.folder / flow_traces.FOLDER / "taken.json").unlink(missing_ok=True)
    flow_traces.tick(ready)
    flow_traces.tick(ready)
    (start.folder / flow_traces.FOLDER / "taken.json").unlink()  # as after a kill
    flow_traces.tick(ready)
    found = store.list(endpoint="chat", deployment="blue", flow=str(folder.resolve()))
    assert sorted(int(trace.id, 16) for trace in found) == [1, 2, 3]
    assert found[0].name == "my-flow"
    assert found[0].origin.request == "r1"
    # What it told last goes along when it is removed.
    tell(start.folder, 4)
    endpoints.delete(ready, "chat")
    for _ in range(3):
        reconcile.tick(ready)
        fleet.stop()
    assert not start.folder.exists()
    assert len(store.list()) == 4


def test_without_tracing_nothing_is_told_or_kept(
    ready: Context, fleet: FakeWorkers, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOUNDRY_TRACING", "off")
    deploy(ready, folder)
    advance(ready, fleet)
    (start,) = fleet.starts
    assert start.spec["traced"] is False
    tell(start.folder, 1)  # it was started before
    flow_traces.tick(ready)
    assert not (start.folder / flow_traces.FOLDER).exists()
    assert TraceStore(ready.home.traces).list() == []


def test_what_can_not_be_kept_waits_and_odd_lines_stop_nothing(
    home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_json(tmp_path / "spec.json", {"name": "chat/blue"})
    tell(tmp_path, 1)
    (tmp_path / flow_traces.FOLDER / "000001.jsonl").open("a").write('{"kind": "trace"}\n"x"\n')
    home.make()
    home.traces.mkdir()
    assert flow_traces.take_in(home, tmp_path) == 0
    assert "chat/blue" in caplog.text
    home.traces.rmdir()
    assert flow_traces.take_in(home, tmp_path) == 1
    assert flow_traces.take_in(home, tmp_path) == 0


def test_a_collector_gets_them_too(
    home: Home, tmp_path: Path, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    flow_traces.sender.cache_clear()
    write_json(tmp_path / "spec.json", {"origin": {"endpoint": "chat"}})
    within, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    tell(tmp_path, 1, within=within, parent=parent)
    flow_traces.take_in(home, tmp_path)
    flow_traces.sender().flush()
    flow_traces.sender.cache_clear()
    assert {span["traceId"] for span in collector.spans} == {within}
    assert parent in json.dumps(collector.spans)
